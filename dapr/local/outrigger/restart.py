"""`outrigger restart`: apps are told to end, one after another, and the next only when the one before is ready again.

The supervisor starts whatever ends, so there is nothing to be told to it. Nobody is refused in the meantime: the
gateway waits for a service that is not there, and clients wait for the gateway, whose socket the supervisor holds.
"""

import asyncio
import time
from collections.abc import Callable, Sequence

import aiohttp

from outrigger.errors import LauncherError
from outrigger.state import RunState, current_run
from outrigger.status import is_ready

_WITHIN = 60.0  # s for one app
_PAUSE = 0.1


async def restart(names: Sequence[str], each: Callable[[str], None]) -> None:
    """Start these apps again, or all; `each` hears of every one that is ready. Raises `LauncherError`."""
    run = current_run()
    if unknown := sorted(set(names) - run.services.keys()):
        raise LauncherError(f"There is no service {unknown[0]}; there are {', '.join(sorted(run.services))}.")
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=3)) as http:
        for name in names or run.services:
            await _one(http, run, name)
            each(name)


async def _one(http: aiohttp.ClientSession, run: RunState, name: str) -> None:
    before = run.services[name].app
    if process := before.process():
        process.terminate()
    deadline = time.monotonic() + _WITHIN
    while not await _renewed(http, name, before.pid):
        if time.monotonic() > deadline:
            raise LauncherError(f"{name} is not ready after {_WITHIN:.0f} s; see `outrigger logs {name}`.")
        await asyncio.sleep(_PAUSE)


async def _renewed(http: aiohttp.ClientSession, name: str, before: int | None) -> bool:
    service = current_run().services[name]
    return service.app.pid not in {before, None} and await is_ready(http, service)
