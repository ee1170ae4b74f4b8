"""Checks from outside that nothing was lost, doubled or left open: it reads ledgers and knows no service's code.

It waits until the system is quiet (everything published, every follower at its tail, every event received) and then
holds what is stored against what must be true. What is still not quiet at the deadline is a violation.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from outrigger import books, promises
from outrigger.ledgers import Ledger, Store, close, stores_of
from outrigger.state import RunState
from outrigger.world import Entry, Mail, book_at, mails_in

POLL = 0.25
SHOWN = 20
BANK = "bank"  # the part whose book is read
MAILS = ".outrigger/mail"


@dataclass(slots=True)
class Report:
    """What was read, and what was wrong."""

    records: int = 0
    events: int = 0
    documents: int = 0
    receipts: int = 0
    dead_letters: int = 0
    payments: int = 0
    mails: int = 0
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
            "payments": self.payments, "mails": self.mails,
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
            f"outside   {self.payments} payments in the bank's book, {self.mails} mails",
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
            report.violations += [*books.journal(ledger), *books.documents(ledger), *books.stock(ledger)]
        outside = (await book_at(run.urls[BANK]), mails_in(Path(run.folder) / MAILS))
        report.violations += _across(report, ledgers, *outside, deadline)
    finally:
        await close(stores)
    return report


def _across(
    report: Report, ledgers: list[Ledger], book: dict[str, Entry], folder: list[Mail], deadline: float
) -> list[str]:
    told = promises.told(ledgers)
    report.orders.update(promises.fates(told).values())
    report.payments, report.mails = len(book), len(folder)
    return [
        *promises.orders(told, deadline, time.time()),
        *promises.reservations(told),
        *promises.payments(told, book),
        *promises.strangers(told, book),
        *promises.mails(told, folder, promises.buried(ledgers)),
    ]


async def _quiet(stores: list[Store], within: float) -> tuple[list[Ledger], list[str]]:
    until = time.monotonic() + within
    before: dict[str, Ledger] = {}
    while True:
        now: dict[str, Ledger] = {}
        for store in stores:
            if ledger := await store.heads():
                await store.records(ledger, before.get(store.service))
                now[store.service] = ledger
        ledgers = list(now.values())
        unsettled = [late for ledger in ledgers for late in ledger.behind()] + await _lost(stores, now)
        still, over = _tails(now) == _tails(before), time.monotonic() > until
        if (still and not unsettled) or over:
            after: dict[str, Ledger] = {}
            for store in stores:
                if ledger := now.get(store.service):
                    await store.contents(ledger)
                    after[store.service] = await store.heads() or ledger
            if not over and _tails(after) != _tails(now):  # a deadline came while documents were read
                continue
            return ledgers, unsettled if still else [*unsettled, "the ledgers still grow: audit when no orders come in"]
        before = now
        await asyncio.sleep(POLL)


def _tails(ledgers: dict[str, Ledger]) -> dict[str, dict[int, int]]:
    return {service: ledger.tails for service, ledger in ledgers.items()}


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


def _count(report: Report, ledger: Ledger, ledgers: list[Ledger]) -> None:
    report.records += len(ledger.records)
    report.events += len(ledger.events)
    report.documents += len(ledger.documents)
    report.receipts += len(expected(ledger, ledgers))
    report.dead_letters += sum(letter["open"] for letter in ledger.letters)
