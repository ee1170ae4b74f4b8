"""Checks from outside that nothing was lost, doubled or left open: it reads ledgers and knows no service's code.

It waits until the system is quiet (everything published, every follower at its tail, every event received) and then
holds what is stored against what must be true. What is still not quiet at the deadline is a violation.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from outrigger.ledgers import Ledger, Store, close, stores_of
from outrigger.state import RunState

POLL = 0.25
SHOWN = 20
ENDS = {"OrderConfirmed", "OrderCancelled"}
RESERVATION_AFTER = {"OrderConfirmed": {"StockCommitted"}, "OrderCancelled": {"StockReleased", "StockRejected"}}
MOVES = {  # what each fact of the stock moves, re-told here on purpose: an auditor does not borrow the books' own sums
    "StockOpened": {"initial": +1, "available": +1},
    "Restocked": {"initial": +1, "available": +1},
    "StockHeld": {"available": -1, "reserved": +1},
    "StockFreed": {"available": +1, "reserved": -1},
    "StockSold": {"reserved": -1, "committed": +1},
}


@dataclass(slots=True)
class Report:
    """What was read, and what was wrong."""

    records: int = 0
    events: int = 0
    documents: int = 0
    receipts: int = 0
    dead_letters: int = 0
    orders: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Tell whether nothing was wrong."""
        return not self.violations

    def summary(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "clean": self.clean, "records": self.records, "events": self.events, "documents": self.documents,
            "receipts": self.receipts, "dead_letters": self.dead_letters, "orders": dict(self.orders),
            "violations": self.violations,
        }  # fmt: skip

    def told(self) -> str:
        """Put it into words."""
        orders = ", ".join(f"{count} {status}" for status, count in sorted(self.orders.items())) or "none"
        lines = [
            (
                f"read      {self.records} records, {self.events} events, {self.documents} documents,"
                f" {self.receipts} receipts"
            ),
            f"orders    {orders}",
            f"letters   {self.dead_letters} open dead letters",
            *(f"VIOLATION {v}" for v in self.violations[:SHOWN]),
        ]
        more = len(self.violations) - SHOWN
        ending = (
            "clean: nothing lost, nothing twice, nothing left open"
            if self.clean
            else f"{len(self.violations)} violations"
        )
        return "\n".join([*lines, *([f"... and {more} more"] if more > 0 else []), ending])


async def audit(run: RunState, *, within: float, deadline: float) -> Report:
    """Wait up to `within` seconds for quiet, then check. `deadline` is the age in seconds at which no order is open."""
    stores = stores_of(run)
    try:
        ledgers, unsettled = await _quiet(stores, within)
        report = Report(violations=unsettled)
        for ledger in ledgers:
            _count(report, ledger, ledgers)
            report.violations += [*journal(ledger), *documents(ledger), *stock(ledger)]
            report.violations += orders(ledger, report, deadline, time.time())
        report.violations += reservations(ledgers)
    finally:
        await close(stores)
    return report


async def _quiet(stores: list[Store], within: float) -> tuple[list[Ledger], list[str]]:
    until = time.monotonic() + within
    before: dict[str, Ledger] = {}
    while True:
        now: dict[str, Ledger] = {}
        for store in stores:
            if ledger := await store.heads():
                await store.fill(ledger, before.get(store.service))
                now[store.service] = ledger
        ledgers = list(now.values())
        unsettled = [late for ledger in ledgers for late in ledger.behind()] + await _lost(stores, now)
        still = {s: x.tails for s, x in now.items()} == {s: x.tails for s, x in before.items()}
        if (still and not unsettled) or time.monotonic() > until:
            return ledgers, unsettled if still else [*unsettled, "the ledgers still grow: audit when no orders come in"]
        before = now
        await asyncio.sleep(POLL)


async def _lost(stores: list[Store], ledgers: dict[str, Ledger]) -> list[str]:
    lost = []
    for store in stores:
        if (ledger := ledgers.get(store.service)) is None:
            continue
        missing = await store.unhandled(expected(ledger, ledgers.values()))
        lost += [f"{store.service} never handled {e['eventType']} {e['eventId']} ({e['origin']})" for e in missing]
    return lost


def expected(ledger: Ledger, ledgers: Iterable[Ledger]) -> list[dict[str, Any]]:
    """Return the events of the others that `ledger`'s service handles."""
    others = (other for other in ledgers if other is not ledger)
    return [e for other in others for e in other.published if e["eventType"] in ledger.handled]


def journal(ledger: Ledger) -> Iterator[str]:
    """No number is missing, every event says truly where it stands, no id comes twice."""
    for (lane, number), record in ledger.records.items():
        if record is None:
            yield f"{ledger.service}: record {number} of lane {lane} is missing"
            continue
        place = f"{ledger.service}/{ledger.heads[lane]['journal_id']}/{lane}/{number}"
        for index, event in enumerate(record["events"]):
            if event["origin"] != f"{place}#{index}":
                yield f"{ledger.service}: {event['eventId']} stands at {place}#{index} but says {event['origin']}"
    for event_id, count in Counter(e["eventId"] for e in ledger.events).items():
        if count > 1:
            yield f"{ledger.service}: event {event_id} was recorded {count} times"


def documents(ledger: Ledger) -> Iterator[str]:
    """Each document has folded exactly its events: revisions 1 to n, and the document stands at n."""
    for subject, events in ledger.subjects().items():
        revisions = [e["revision"] for e in events]
        stored = ledger.documents.get(subject)
        if revisions != list(range(1, len(events) + 1)):
            yield f"{ledger.service}: {subject} has revisions {revisions[:10]}, not 1 to {len(events)}"
        elif stored is None:
            yield f"{ledger.service}: {subject} has {len(events)} events and no document"
        elif stored["revision"] != len(events):
            yield f"{ledger.service}: {subject} stands at revision {stored['revision']} of {len(events)}"


def stock(ledger: Ledger) -> Iterator[str]:
    """No pieces appear, vanish or are promised twice."""
    for subject, events in ledger.subjects().items():
        if not subject.startswith("stock/"):
            continue
        sums: Counter[str] = Counter()
        for event in events:
            for term, sign in MOVES[event["eventType"]].items():
                sums[term] += sign * event["payload"]["quantity"]
                if sums[term] < 0:
                    yield f"{ledger.service}: {subject}: {term} was negative at revision {event['revision']}"
        state = (ledger.documents.get(subject) or {}).get("state") or {}
        kept = {t: state.get(t, 0) for t in ("available", "reserved", "committed")}
        kept["initial"] = state.get("initial", 0) + state.get("restocked", 0)
        if any(kept[term] != sums[term] for term in kept):
            yield f"{ledger.service}: {subject} says {kept}, its events say {dict(sums)}"


def orders(ledger: Ledger, report: Report, deadline: float, now: float) -> Iterator[str]:
    """Every order ends once, in time, and its document says how."""
    for subject, events in ledger.subjects().items():
        if not any(e["eventType"] == "OrderCreated" for e in events):
            continue
        ends = [e["eventType"] for e in events if e["eventType"] in ENDS]
        status = ends[0].removeprefix("Order").lower() if ends else "open"
        report.orders[status] += 1
        stored = ((ledger.documents.get(subject) or {}).get("state") or {}).get("status")
        if len(ends) > 1:
            yield f"{ledger.service}: {subject} ended {len(ends)} times: {ends}"
        elif ends and stored != status:
            yield f"{ledger.service}: {subject} is {stored}, its events say {status}"
        elif not ends and (age := now - datetime.fromisoformat(events[0]["timestamp"]).timestamp()) > deadline:
            yield f"{ledger.service}: {subject} is open for {age:.0f} s"


def reservations(ledgers: list[Ledger]) -> Iterator[str]:
    """What was set aside for an order that ended has been sold or freed, as the order ended."""
    last = {s: events[-1]["eventType"] for ledger in ledgers for s, events in ledger.subjects().items()}
    for subject, fact in last.items():
        reservation = last.get(f"reservation/{subject.removeprefix('order/')}")
        if fact in RESERVATION_AFTER and subject.startswith("order/") and reservation not in RESERVATION_AFTER[fact]:
            yield f"{subject} ended with {fact}, its reservation with {reservation}"


def _count(report: Report, ledger: Ledger, ledgers: list[Ledger]) -> None:
    report.records += len(ledger.records)
    report.events += len(ledger.events)
    report.documents += len(ledger.documents)
    report.receipts += len(expected(ledger, ledgers))
    report.dead_letters += sum(letter["open"] for letter in ledger.letters)
