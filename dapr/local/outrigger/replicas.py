"""How many replicas a service has: all but the gateway, whose one door the supervisor holds, may have several."""

import asyncio
from collections.abc import Mapping, Sequence

from outrigger.control import ask
from outrigger.errors import LauncherError
from outrigger.state import RunState, current_run
from outrigger.template import EDGE

MOST = 20

Counts = Mapping[str, int]  # replicas, by service


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
    run = current_run()
    if counted(run) != wanted:
        wish = {"change": "scale"} | {name: str(count) for name, count in wanted.items()}
        await asyncio.to_thread(ask, run, wish, lambda _words: None)
