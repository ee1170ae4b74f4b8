"""Walks the journals of those whose events this service handles, and fetches what the broker did not bring.

So the broker is a doorbell: what it loses comes later. One replica walks, the one with the first lane in hand. It notes
how long the lanes are, and looks a while later, by its own clock, whether every event up to there left its mark here.
The first one that did not holds the cursor. When that has not changed for long enough, it is fetched and handled as
if it had been delivered: together with all that is missing before the last event that was handled, or, where
nothing behind it was, with all there is, since then nothing comes at all. What only waits in a slow broker has nothing
handled behind it and does not hold the cursor for long, so an overload is not made worse.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from chassis import keys
from chassis.envelope import Event
from chassis.problems import Failed, Problem
from chassis.reconciliation import cursor as cursors
from chassis.reconciliation.cursor import including, settled
from chassis.reconciliation.journals import EVENTS, LANES, PAGE_RECORDS, RECORDS
from chassis.reconciliation.lanes import Page, Place, Watch
from chassis.reconciliation.sweeper import Sweeper
from chassis.sidecar import Put, SidecarError, call
from chassis.work import is_unread

if TYPE_CHECKING:
    from chassis.engine import Engine
    from chassis.service import Service

AT_ONCE = 100  # events fetched together
log = logging.getLogger(__name__)


class Walker:
    """One service's walker."""

    def __init__(self, service: "Service", engine: "Engine") -> None:
        """Walk the journals of the owners of the events that `service` handles."""
        self._service, self._engine = service, engine
        self._every, self._patience = service.settings.walk_every, service.settings.walk_patience
        self._watches: dict[Place, Watch] = {}
        self._sweeper = Sweeper(service.sidecar, service.settings.marks_kept, self._page, lambda: self._crowded)
        self.repaired: Counter[str] = Counter()  # events, by producer
        self.lag: dict[str, int] = {}  # records that are not looked through yet, by producer

    def producers(self) -> Mapping[str, dict[str, bool]]:
        """Name the services to walk, and of each the types of events that are wanted, and whether with history."""
        found: dict[str, dict[str, bool]] = {}
        for kind, handler in self._service.rules.events.items():
            if issubclass(handler.message, Event):
                found.setdefault(handler.message.topic, {})[kind] = handler.history
        return found

    async def run(self) -> None:
        """Walk until cancelled. Every replica does so once: who wants no history wants what comes from its start on."""
        producers = self.producers()
        unknown = set(producers)
        while producers:
            turn = await self._tried(self._service.name, self._is_its_turn())
            for producer, wanted in producers.items():
                if (turn or producer in unknown) and await self._tried(producer, self._walk(producer, wanted)):
                    unknown.discard(producer)
            await asyncio.sleep(self._every)

    async def _tried(self, producer: str, work: Awaitable[bool]) -> bool:
        """Do part of a walk; whatever it raises, the next round begins anew."""
        try:
            return await work
        except (SidecarError, Problem) as error:
            log.info("a journal could not be walked", extra={"producer": producer, "reason": str(error)[:300]})
        except Exception:
            log.exception("a walk failed; it begins again from its cursor", extra={"producer": producer})
        return False

    async def _is_its_turn(self) -> bool:
        """Tell whether this replica has the first of the lanes that have an owner, and not enough to do already."""
        if self._crowded:
            return False
        owned = [lane.number for lane in await self._engine.lanes.all() if lane.head.owner is not None]
        return bool(owned) and owned[0] in self._engine.running

    @property
    def _crowded(self) -> bool:
        main = self._engine.main
        return main is None or main.executor.queued > keys.BATCH_ITEMS // 4

    async def _walk(self, producer: str, wanted: Mapping[str, bool]) -> bool:
        """Look through every lane, and keep how far that went; tells that this was done, or is another's business."""
        told = await self._ask(producer, LANES, {})
        name = cursors.name(producer, told["journalId"])
        stored = (await self._service.sidecar.read([name])).get(name)
        cursor = including(stored.value if stored else None, wanted, told["tails"])
        if unwanted := cursor["types"].keys() - wanted.keys():
            log.warning("not walked: another version handles more; give a type that is of no use any more an empty "
                        "handler", extra={"producer": producer, "types": sorted(unwanted)})  # fmt: skip
            return True
        lanes = dict(cursor["lanes"])
        for lane, tail in enumerate(told["tails"]):
            lanes[str(lane)] = await self._lane(Place(producer, told["journalId"], lane), cursor, tail)
        self.lag[producer] = sum(told["tails"]) - sum(lanes.values())
        moved = {**cursor, "lanes": lanes}
        if stored is None or stored.value != moved:
            etag = stored.etag if stored else None
            await self._service.sidecar.transact([Put(name, moved, etag=etag, insert=stored is None)])
        await self._sweeper.sweep(producer, told["journalId"], wanted, lanes)
        return True

    async def _lane(self, place: Place, cursor: Mapping[str, Any], tail: int) -> int:
        """Return up to which number everything is settled, or is now."""
        watch, now = self._watches.setdefault(place, Watch()), asyncio.get_running_loop().time()
        at, upto, silent = cursor["lanes"].get(str(place.lane), 0), watch.noted(tail, now, self._patience), False
        while at < upto and (page := await self._page(place, cursor, at, upto)):
            missing = await self._missing(page.numbers)
            if missing:
                first = next(event for event in page.numbers if event in missing)
                if not (silent or watch.stuck(first, now, self._patience)):
                    return page.numbers[first] - 1
                lost, silent = page.lost(missing)
                await self._fetch(place, {event: page.numbers[event] for event in lost})
                if left := missing.difference(lost):
                    return min(page.numbers[event] for event in left) - 1
            at = page.last
        return at

    async def _page(self, place: Place, cursor: Mapping[str, Any], after: int, upto: int) -> Page | None:
        """Return the next records; None where the next one is missing, which ends the walk."""
        wish = {"lane": place.lane, "after": after, "upto": upto}
        records = (await self._ask(place.producer, RECORDS, wish))["records"]
        if [record["number"] for record in records] != list(range(after + 1, after + 1 + len(records))):
            raise Failed(f"{place.producer} told the records of lane {place.lane} with a gap")
        numbers = {
            event: record["number"] for record in records for event, kind in record["events"]
            if kind in cursor["types"] and not settled(cursor, kind, place.lane, record["number"])
        }  # fmt: skip
        return Page(records[-1]["number"], numbers) if records else None

    async def _missing(self, events: Iterable[str]) -> set[str]:
        names = {keys.inbox(event): event for event in events}
        found = await self._service.sidecar.read(list(names)) if names else {}
        return {event for name, event in names.items() if name not in found or is_unread(found[name].value)}

    async def _fetch(self, place: Place, lost: dict[str, int]) -> None:
        """Handle events as if they had been delivered; returns when they are settled."""
        log.warning("events that the broker did not bring are fetched", extra={
            "producer": place.producer, "lane": place.lane, "events": len(lost), "first": min(lost.values()),
        })  # fmt: skip
        while lost:
            numbers = sorted(set(lost.values()))[:PAGE_RECORDS]
            ids = [event for event, number in lost.items() if number in numbers][:AT_ONCE]
            wish = {"lane": place.lane, "numbers": sorted({lost[event] for event in ids}), "ids": ids}
            events = (await self._ask(place.producer, EVENTS, wish))["events"]
            if not events:
                raise Failed(f"{place.producer} lists events of lane {place.lane} that it does not show")
            await asyncio.gather(*(self._service.deliver(event, place.producer) for event in events))
            self.repaired[place.producer] += len(events)
            lost = {event: number for event, number in lost.items() if event not in {e["eventId"] for e in events}}

    async def _ask(self, producer: str, method: str, wish: Mapping[str, Any]) -> Any:
        return (await call(self._service.sidecar, producer, method, body=wish))[1]
