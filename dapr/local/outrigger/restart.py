"""`outrigger restart`: apps, or sidecars, are told to end, one after another, each when the one before is ready again.

The supervisor starts whatever ends, so there is nothing to be told to it. Nobody is refused in the meantime: the
gateway waits for a service that is not there, and clients wait for the gateway, whose socket the supervisor holds.
"""

import asyncio
import time
from collections.abc import Callable, Sequence

import aiohttp

from outrigger.errors import LauncherError
from outrigger.replicas import counted, scale
from outrigger.state import ProcessState, RunState, current_run
from outrigger.status import serves

_WITHIN = 60.0  # s for one process
_PAUSE = 0.1


async def restart(names: Sequence[str], each: Callable[[str], None], *, sidecars: bool) -> None:
    """Start these apps again, or all; `each` hears of every one that is ready. Raises `LauncherError`.

    Where a service has replicas, one more stands in for the one that is away.
    """
    run = current_run()
    if unknown := sorted(set(names) - run.services.keys()):
        raise LauncherError(f"There is no service {unknown[0]}; there are {', '.join(sorted(run.services))}.")
    counts = counted(run)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=3)) as http:
        for name in names or run.firsts:
            replicas = [other for other, one in run.services.items() if one.app_id == name] or [name]
            surge = {name: len(replicas) + 1} if len(replicas) > 1 and not sidecars else {}
            await scale(counts | surge)
            for replica in replicas:
                await _one(http, run, replica, each, sidecars=sidecars)
            await scale(counts)


async def _one(
    http: aiohttp.ClientSession, run: RunState, name: str, each: Callable[[str], None], *, sidecars: bool
) -> None:  # fmt: skip
    before = _process(run, name, sidecars)
    if process := before.process():
        process.terminate()
    await _until_renewed(http, name, before, sidecars)
    each(before.name)


def _process(run: RunState, name: str, sidecars: bool) -> ProcessState:
    service = run.services[name]
    return service.sidecar if sidecars else service.app


async def _until_renewed(http: aiohttp.ClientSession, name: str, before: ProcessState, sidecars: bool) -> None:
    deadline = time.monotonic() + _WITHIN
    while True:
        run = current_run()
        new = _process(run, name, sidecars).pid not in {before.pid, None}
        if new and await serves(http, run.services[name]):
            return
        if time.monotonic() > deadline:
            raise LauncherError(
                f"{before.name} is not ready after {_WITHIN:.0f} s; see `outrigger logs {before.name}`."
            )
        await asyncio.sleep(_PAUSE)
