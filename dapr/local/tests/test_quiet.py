"""The audit compares records and documents of one moment."""

from collections.abc import Iterable
from typing import Any

import pytest

from outrigger import audit
from outrigger.ledgers import Ledger, Store


class Moving(Store):
    """A store in which a deadline commits a record while documents are read for the first time."""

    def __init__(self) -> None:
        self.service, self.tail, self.looks = "orders", 1, 0

    async def heads(self) -> Ledger | None:
        return Ledger("orders", {0: {"tail": self.tail, "published": self.tail, "followers": {}, "dead_letters": 0}})

    async def records(self, ledger: Ledger, known: Ledger | None = None) -> None:
        ledger.records = {(0, n): {"events": []} for n in range(1, ledger.tails[0] + 1)}

    async def contents(self, ledger: Ledger) -> None:
        self.looks += 1
        self.tail += self.looks == 1
        ledger.documents = {"order/1": self.tail}

    async def unhandled(self, events: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        return []


async def test_what_a_deadline_changes_while_documents_are_read_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "POLL", 0.0)
    store = Moving()
    (ledger,), unsettled = await audit._quiet([store], 30.0)
    assert (len(ledger.records), ledger.documents, store.looks, unsettled) == (2, {"order/1": 2}, 2, [])
