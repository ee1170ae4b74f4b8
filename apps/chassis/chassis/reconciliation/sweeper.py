"""Deletes the inbox marks of events that were settled so long ago that their origin alone tells that they are repeated.

First `swept` moves, an hour behind the cursor: what it covers is a duplicate from then on, mark or not, whatever a
broker brings when. Then the marks that it covers are deleted, some at a time; `gone` says how far. The mark of a dead
letter stays, and so does that of an event without an origin.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from chassis import keys
from chassis.reconciliation import cursor as cursors
from chassis.reconciliation.lanes import Page, Place, Watch
from chassis.sidecar import Delete, Put, Sidecar, Stored

BITE = 100  # marks deleted together
Look = Callable[[Place, Mapping[str, Any], int, int], Awaitable[Page | None]]


def needless(mark: Stored) -> bool:
    """Tell whether a mark says no more than that its event was handled."""
    return mark.value == 1


@dataclass(slots=True)
class Sweeper:
    """Sweeps for one walker; the time that it waits is its own, so that no clock that jumps can shorten it."""

    sidecar: Sidecar
    kept: float  # seconds for which marks are kept once the cursor has passed them
    look: Look  # the walker's own
    busy: Callable[[], bool]
    _passed: dict[Place, Watch] = field(default_factory=dict)

    async def sweep(self, producer: str, journal: str, wanted: Mapping[str, bool], lanes: Mapping[str, int]) -> None:
        """Delete what is covered; then cover what the cursor, which stands at `lanes`, passed long ago."""
        now = asyncio.get_running_loop().time()
        old = {
            lane: self._passed.setdefault(Place(producer, journal, int(lane)), Watch()).noted(at, now, self.kept)
            for lane, at in lanes.items()
        }
        name = cursors.swept(producer, journal)
        stored = (await self.sidecar.read([name])).get(name)
        covered = cursors.including(stored.value if stored else None, dict.fromkeys(wanted, True), ())
        gone = stored.value["gone"] if stored and covered["lanes"] else {}
        for lane, upto in covered["lanes"].items():
            if not await self._delete(Place(producer, journal, int(lane)), covered["types"], gone.get(lane, 0), upto):
                return
        further = {lane: at for lane, at in old.items() if at > covered["lanes"].get(lane, 0)}
        if further:
            value = {**covered, "lanes": {**covered["lanes"], **further}, "gone": covered["lanes"]}
            etag = stored.etag if stored else None
            await self.sidecar.transact([Put(name, value, etag=etag, insert=stored is None)])

    async def _delete(self, place: Place, types: Mapping[str, Any], gone: int, upto: int) -> bool:
        """Delete the marks of the events in the records up to `upto`; tells whether that is done."""
        while gone < upto:
            page = await self.look(place, {"lanes": {str(place.lane): gone}, "types": types}, gone, upto)
            if page is None or self.busy():
                return False
            events = list(page.numbers)
            for start in range(0, len(events) or 1, BITE):
                some, left = events[start : start + BITE], events[start + BITE :]
                gone = page.numbers[left[0]] - 1 if left else page.last
                await self._bite(place, some, gone)
        return True

    async def _bite(self, place: Place, events: list[str], gone: int) -> None:
        name = cursors.swept(place.producer, place.journal)
        found = await self.sidecar.read([name, *map(keys.inbox, events)])
        stored = found.pop(name)
        value = {**stored.value, "gone": {**stored.value["gone"], str(place.lane): gone}}
        marks = [Delete(key, mark.etag) for key, mark in sorted(found.items()) if needless(mark)]
        await self.sidecar.transact([*marks, Put(name, value, etag=stored.etag)])
