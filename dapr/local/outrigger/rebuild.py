"""`outrigger rebuild`: has a service build one of its views anew from its journal, while it goes on serving."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from outrigger.desk import Desk, Desks, NotThere
from outrigger.errors import LauncherError
from outrigger.state import RunState

_PAUSE = 0.2  # s between two looks
_PATIENCE = 60.0  # s without an answer; a service that is started again goes on

Show = Callable[[int, int], None]
"""Told how many of how many records are folded."""


async def rebuild(run: RunState, view: str, show: Show) -> dict[str, Any]:
    """Rebuild a view, wherever it is; returns its service, its records and the seconds that it took."""
    began = time.monotonic()
    async with Desks(run) as desks:
        desk = await _owner(desks, view)
        await desk.post("rebuild", {"view": view})
        told = await _until_done(desk, view, show)
    return {"view": view, "service": desk.service, "records": told["of"], "seconds": round(time.monotonic() - began, 1)}


async def _owner(desks: Desks, view: str) -> Desk:
    there = {(name, desk.service): desk for desk in await desks.keepers(None) for name in await _views(desk)}
    for (name, _), desk in there.items():
        if name == view:
            return desk
    known = ", ".join(f"{name} ({service})" for name, service in sorted(there)) or "none"
    raise LauncherError(f"There is no view {view}; there are: {known}.")


async def _views(desk: Desk) -> list[str]:
    return (await desk.get("status"))["views"]


async def _until_done(desk: Desk, view: str, show: Show) -> dict[str, Any]:
    heard = time.monotonic()
    while True:
        try:
            told = await desk.get("rebuild", view=view)
        except NotThere:
            if time.monotonic() - heard > _PATIENCE:
                raise
        else:
            heard = time.monotonic()
            show(told["done"], told["of"])
            if told["building"] is None:
                return told
        await asyncio.sleep(_PAUSE)
