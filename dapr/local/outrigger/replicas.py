"""How many replicas a service has: a wish is written to a file, the supervisor hears of it by a signal and fulfils it.

All but the gateway, whose one door the supervisor holds.
"""

import asyncio
import json
import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import aiohttp

from outrigger.errors import LauncherError
from outrigger.home import Home, find_home
from outrigger.state import RunState, current_run
from outrigger.status import serves
from outrigger.template import EDGE

HEARD = signal.SIGUSR1
MOST = 20
_WITHIN = 300.0  # s
_PAUSE = 0.2

Counts = Mapping[str, int]  # replicas, by service


def wish_of(home: Home) -> Path:
    """Where the wish lies."""
    return home.work / "replicas.json"


def wished(home: Home) -> dict[str, int]:
    """Read the wish."""
    return json.loads(wish_of(home).read_text())


def counted(run: RunState) -> dict[str, int]:
    """Count the replicas of each service that can have several."""
    ids = [service.app_id for service in run.services.values() if service.app_id != EDGE]
    return {app_id: ids.count(app_id) for app_id in ids}


def chosen(run: RunState, count: int, names: Sequence[str]) -> dict[str, int]:
    """Say how many each service is to have, where these, or all, are to have `count`. Raises `LauncherError`."""
    now = counted(run)
    if unknown := sorted(set(names) - now.keys()):
        raise LauncherError(f"There are no replicas of {unknown[0]}; there may be of {', '.join(sorted(now))}.")
    return now | dict.fromkeys(names or now, count)


async def scale(wanted: Counts) -> None:
    """Have that many replicas of each service; returns when all serve, and what is too much is gone."""
    home, run = find_home(), current_run()
    if counted(run) == wanted:
        return
    draft = wish_of(home).with_suffix(".draft")
    draft.write_text(json.dumps(dict(wanted)))
    draft.replace(wish_of(home))
    os.kill(run.launcher.pid or 0, HEARD)
    deadline = time.monotonic() + _WITHIN
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=3)) as http:
        while open_ones := await _open(http, current_run(), wanted):
            if time.monotonic() > deadline:
                raise LauncherError(f"Not done after {_WITHIN:.0f} s: {', '.join(open_ones)}; see `outrigger status`.")
            await asyncio.sleep(_PAUSE)


async def _open(http: aiohttp.ClientSession, run: RunState, wanted: Counts) -> list[str]:
    """Name the services that are not as wanted yet."""
    found = counted(run)
    silent = {service.app_id for service in run.services.values() if not await serves(http, service)}
    return [name for name, count in wanted.items() if found[name] != count or name in silent]
