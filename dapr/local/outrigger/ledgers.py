"""What the audit reads: lanes, records, documents and inbox marks of each service, through its own sidecar."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from chassis import keys
from chassis.daprd import Daprd
from chassis.reconciliation.cursor import origin
from chassis.sidecar import Sidecar, SidecarError, Stored
from outrigger.errors import LauncherError
from outrigger.state import RunState
from outrigger.template import EDGE

CHUNK = 500
SECONDS_TO_ANSWER = 30.0


@dataclass(slots=True)
class Ledger:
    """One service's store at one moment."""

    service: str
    heads: dict[int, dict[str, Any]] = field(default_factory=dict)
    handled: frozenset[str] = frozenset()
    records: dict[tuple[int, int], dict[str, Any] | None] = field(default_factory=dict)
    documents: dict[str, Any] = field(default_factory=dict)  # by subject
    letters: list[dict[str, Any]] = field(default_factory=list)

    @property
    def tails(self) -> dict[int, int]:
        """The number of the last record of each lane."""
        return {lane: head["tail"] for lane, head in self.heads.items()}

    @property
    def events(self) -> list[dict[str, Any]]:
        """Every event, by lane and number."""
        return [e for record in self.records.values() if record for e in record["events"]]

    @property
    def published(self) -> list[dict[str, Any]]:
        """Events that others may handle."""
        return [e for e in self.events if not e.get("private")]

    def subjects(self) -> dict[str, list[dict[str, Any]]]:
        """Every aggregate's events, by revision."""
        found: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for event in self.events:
            found[event["subject"]].append(event)
        return {subject: sorted(events, key=lambda e: e["revision"]) for subject, events in found.items()}

    def behind(self) -> list[str]:
        """Name what has not reached the tail; deadlines are behind it on purpose."""
        late = []
        for lane, head in self.heads.items():
            marks = {"relay": head["published"], **head["followers"]}
            late += [
                f"{self.service}: {name} of lane {lane} is at {mark} of {head['tail']}"
                for name, mark in marks.items()
                if mark < head["tail"] and not name.startswith("deadline/")
            ]
        return late


class Store:
    """Reads one service's store."""

    def __init__(self, service: str, url: str) -> None:
        """`url` is the sidecar's."""
        self.service = service
        self.sidecar: Sidecar = Daprd(url, state_seconds=SECONDS_TO_ANSWER)
        self._seen: set[str] = set()

    async def heads(self) -> Ledger | None:
        """Read where the lanes end; None where this service keeps no ledger."""
        found = await self._read([keys.LANES, keys.HANDLED])
        if keys.LANES not in found:
            return None
        numbers = range(found[keys.LANES].value["lanes"])
        heads = await self._read([keys.head(n) for n in numbers])
        handled = found[keys.HANDLED].value["types"] if keys.HANDLED in found else []
        values = {n: heads[keys.head(n)].value for n in numbers if keys.head(n) in heads}
        return Ledger(self.service, values, frozenset(handled))

    async def records(self, ledger: Ledger, known: Ledger | None = None) -> None:
        """Read the records up to the heads' tails; those of `known` are not read again."""
        ledger.records = dict(known.records) if known else {}
        wanted = [(lane, n) for lane, tail in ledger.tails.items() for n in range(1, tail + 1)]
        missing = [place for place in wanted if ledger.records.get(place) is None]
        stored = await self._read([keys.record(*place) for place in missing])
        ledger.records |= {p: stored[keys.record(*p)].value if keys.record(*p) in stored else None for p in missing}
        ledger.records = {place: ledger.records[place] for place in wanted}

    async def contents(self, ledger: Ledger) -> None:
        """Read the documents that the records tell of, and the dead letters."""
        names = {event["subject"]: document(event["subject"]) for event in ledger.events}
        documents = await self._read(list(names.values()))
        ledger.documents = {s: documents[k].value if k in documents else None for s, k in names.items()}
        letters = [keys.dead_letter(n, i) for n, h in ledger.heads.items() for i in range(1, h["dead_letters"] + 1)]
        ledger.letters = [stored.value for stored in (await self._read(letters)).values()]

    async def unhandled(self, events: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the events that left no mark here, nor are settled for long; what was seen is not looked for again."""
        asked = [e for e in events if e["eventId"] not in self._seen]
        places = {e["eventId"]: origin(e["origin"], e["eventType"]) for e in asked}
        swept = await self._read(list({place.swept for place in places.values() if place}))
        over = {
            e for e, place in places.items() if place and place.swept in swept and place.over(swept[place.swept].value)
        }
        marks = await self._read([keys.inbox(e) for e in places if e not in over])
        self._seen |= over | {e for e in places if keys.inbox(e) in marks}
        return [e for e in asked if e["eventId"] not in self._seen]

    async def _read(self, names: list[str]) -> dict[str, Stored]:
        found: dict[str, Stored] = {}
        try:
            for start in range(0, len(names), CHUNK):
                found |= await self.sidecar.read(names[start : start + CHUNK])
        except SidecarError as error:
            raise LauncherError(
                f"the sidecar of {self.service} does not answer ({error}): see `outrigger status`."
            ) from None
        return found


def document(subject: str) -> str:
    """Return the key of a subject's document."""
    kind, _, name = subject.partition("/")
    return keys.document(kind, name)


async def close(stores: Iterable[Store]) -> None:
    """Give back connections."""
    await asyncio.gather(*(store.sidecar.close() for store in stores))


def stores_of(run: RunState) -> list[Store]:
    """Return a reader for every service of a run; the edge has no store. Raises `LauncherError` if it has none."""
    if not run.services:
        raise LauncherError("This run has parts only: the services that `dapr run` started are not known here.")
    return [Store(name, service.sidecar_url) for name, service in run.firsts.items() if name != EDGE]
