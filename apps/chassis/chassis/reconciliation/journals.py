"""What a service tells other services of its journal, so that they find what the broker did not bring.

Three methods, for services through Dapr: how long the lanes are; which events the records hold, by id and type; and the
events themselves, as they are published.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import orjson
from pydantic import Field
from starlette.requests import Request

from chassis import keys
from chassis.envelope import Command
from chassis.problems import Forbidden
from chassis.sidecar import CALLER
from chassis.work import Reply

if TYPE_CHECKING:
    from chassis.service import Service

LANES, RECORDS, EVENTS = "journal-lanes", "journal-records", "journal-events"
METHODS = frozenset({f"/{LANES}", f"/{RECORDS}", f"/{EVENTS}"})
PAGE_RECORDS = 32  # read at a time
PAGE_EVENTS = 500  # told at a time, and a record's more
ANSWER_BYTES = 1024 * 1024
Record = tuple[int, list[dict[str, Any]]]  # its number and the events in it that others may handle


class LanesWish(Command):
    """Asks how long the lanes are."""


class RecordsWish(Command):
    """Asks for the records behind `after`, up to `upto`."""

    lane: int = Field(ge=0)
    after: int = Field(ge=0)
    upto: int = Field(ge=0)


class EventsWish(Command):
    """Asks for some events, named by their records' numbers and their ids."""

    lane: int = Field(ge=0)
    numbers: tuple[int, ...] = Field(min_length=1, max_length=PAGE_RECORDS)
    ids: frozenset[str] = Field(min_length=1)


class Journals:
    """The journal of one service, as others may read it; any replica can answer."""

    def __init__(self, service: "Service") -> None:
        """Add the methods."""
        self._service = service
        service.accept(f"/{LANES}", LanesWish, self.lanes)
        service.accept(f"/{RECORDS}", RecordsWish, self.records)
        service.accept(f"/{EVENTS}", EventsWish, self.events)

    async def lanes(self, _wish: LanesWish, request: Request) -> Reply:
        """Tell the journal's id and the number of the last record of each lane."""
        _only_services(request)
        assert self._service.engine  # noqa: S101 - these methods are there only with an engine
        lanes = self._service.engine.lanes
        return Reply(200, {"tails": [lane.head.tail for lane in await lanes.all()], "journalId": lanes.journal_id})

    async def records(self, wish: RecordsWish, request: Request) -> Reply:
        """List ids and types of events by record, without a gap: a record that is missing ends the list."""
        _only_services(request)
        told: list[dict[str, Any]] = []
        count = 0
        while wish.after + len(told) < wish.upto and count < PAGE_EVENTS:
            first = wish.after + len(told) + 1
            page = await self._read(wish.lane, range(first, min(wish.upto, first + PAGE_RECORDS - 1) + 1))
            for number, events in page:
                told.append({"number": number, "events": [[e["eventId"], e["eventType"]] for e in events]})
                count += len(events)
            if not page or page[-1][0] < min(wish.upto, first + PAGE_RECORDS - 1):
                break
        return Reply(200, {"records": told})

    async def events(self, wish: EventsWish, request: Request) -> Reply:
        """Show events as they are published: as many of those that were asked for as one answer holds."""
        _only_services(request)
        page = await self._read(wish.lane, wish.numbers)
        found = (event for _, events in page for event in events if event["eventId"] in wish.ids)
        return Reply(200, {"events": list(_fitting(found))})

    async def _read(self, lane: int, numbers: Sequence[int]) -> list[Record]:
        """Return records up to the first that is missing, from memory where this replica wrote them lately."""
        assert self._service.engine  # noqa: S101 - see above
        running = self._service.engine.running.get(lane)
        known = running.executor.recent(numbers) if running else {}
        names = {number: keys.record(lane, number) for number in numbers if number not in known}
        stored = await self._service.sidecar.read(list(names.values())) if names else {}
        known |= {number: stored[name].value for number, name in names.items() if name in stored}
        found: list[Record] = []
        for number in numbers:
            if number not in known:
                break
            found.append((number, [event for event in known[number]["events"] if not event.get("private")]))
        return found


def _fitting(events: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Pass on one event at least, and no more than fits into an answer."""
    size = 0
    for event in events:
        own = len(orjson.dumps(event))
        if size and size + own > ANSWER_BYTES:
            return
        size += own
        yield event


def _only_services(request: Request) -> None:
    if CALLER not in request.headers:
        raise Forbidden("a journal is read by services, through their sidecars: nobody else may ask")
