"""How a command has the launcher change a running system: it says what, in one JSON line, and hears how that goes.

One change at a time. It goes on to its end when whoever asked for it goes away.
"""

import asyncio
import contextlib
import json
import logging
import socket
from collections.abc import Awaitable, Callable

from outrigger.channel import Kind, line, receive
from outrigger.errors import LauncherError
from outrigger.ports import LOOPBACK
from outrigger.state import RunState

Wish = dict[str, str]
"""`change` is what to do; the rest is how."""

Tell = Callable[[str], None]
Act = Callable[[Wish, Tell], Awaitable[str]]
"""Does what is wished, tells how it goes, and returns what came of it. Raises `LauncherError`."""

log = logging.getLogger(__name__)

_ASKED_WITHIN = 5.0  # s
_SILENT_AT_MOST = 900.0  # s; above the longest wait of any change


class Control:
    """The launcher's side."""

    def __init__(self, act: Act) -> None:
        """Listen to nobody yet."""
        self._act = act
        self._server: asyncio.Server | None = None
        self._doing: asyncio.Task[str] | None = None
        self._what = ""

    @property
    def port(self) -> int:
        """Where it listens; 0 while it does not."""
        return self._server.sockets[0].getsockname()[1] if self._server and self._server.sockets else 0

    async def open(self) -> None:
        """Listen from now on."""
        self._server = await asyncio.start_server(self._heard, LOOPBACK, 0)

    async def close(self) -> None:
        """Listen no more; what is being changed is left as it is."""
        if self._server:
            self._server.close()
        if self._doing:
            self._doing.cancel()
            await asyncio.gather(self._doing, return_exceptions=True)

    async def _heard(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            with contextlib.suppress(ValueError, TypeError, TimeoutError):
                async with asyncio.timeout(_ASKED_WITHIN):
                    wish = {str(key): str(value) for key, value in dict(json.loads(await reader.readline())).items()}
                writer.write(line(*await self._answer(wish, lambda text: writer.write(line(Kind.NOTE, text)))))
                await writer.drain()
            writer.close()

    async def _answer(self, wish: Wish, tell: Tell) -> tuple[Kind, str]:
        if self._doing and not self._doing.done():
            return Kind.FAILED, f"The launcher is busy with `{self._what}`: wait until that is done."
        self._what = " ".join(wish.values())
        self._doing = asyncio.ensure_future(self._act(wish, tell))
        try:
            return Kind.READY, await self._doing
        except LauncherError as error:
            return Kind.FAILED, str(error)
        except Exception:
            log.exception("%s failed", self._what)
            return Kind.FAILED, "The launcher itself failed; see .outrigger/logs/launcher.log."
        except asyncio.CancelledError:
            return Kind.FAILED, f"The launcher ended before `{self._what}` was done."


def ask(run: RunState, wish: Wish, tell: Tell) -> str:
    """Have the launcher of a run do something; returns what came of it. Raises `LauncherError`."""
    try:
        with socket.create_connection((LOOPBACK, run.control), timeout=_ASKED_WITHIN) as channel:
            channel.settimeout(_SILENT_AT_MOST)
            channel.sendall(json.dumps(wish).encode() + b"\n")
            for kind, text in receive(channel):
                if kind is Kind.READY:
                    return text
                if kind is Kind.FAILED:
                    raise LauncherError(text)
                tell(text)
    except OSError as error:
        raise LauncherError(f"The launcher does not answer ({error}): see `outrigger status`.") from error
    raise LauncherError("The launcher ended before it was done; see .outrigger/logs/launcher.log.")
