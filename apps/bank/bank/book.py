"""The bank's own ledger, in one SQLite file: how each payment stands, and which money moved when.

A payment is known by its key. Whatever is asked again under a key is answered by how the payment stands, so every
operation may be repeated. A void is final, also when it comes before anything else: nothing is ever held under that
key again. Money is counted in minor units.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

LIMIT = 100_000_00  # what is more than that is declined

_TABLES = """
CREATE TABLE IF NOT EXISTS payments (
    key TEXT PRIMARY KEY, amount INTEGER, status TEXT NOT NULL, reason TEXT
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS movements (
    number INTEGER PRIMARY KEY, key TEXT NOT NULL, kind TEXT NOT NULL, amount INTEGER NOT NULL,
    at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
);
CREATE INDEX IF NOT EXISTS movements_of ON movements (key);
"""


class Status(StrEnum):
    """How a payment stands."""

    AUTHORIZED = "authorized"
    DECLINED = "declined"
    VOIDED = "voided"
    CAPTURED = "captured"
    UNKNOWN = "unknown"


class Movement(StrEnum):
    """What happened to the money."""

    HELD = "held"
    RELEASED = "released"
    TAKEN = "taken"


class OtherAmount(Exception):
    """A key came back with another amount."""


@dataclass(frozen=True, slots=True)
class Payment:
    """One payment; a void that came first leaves one without an amount."""

    key: str
    amount: int | None
    status: Status
    reason: str | None = None


class Book:
    """The ledger. What a call has returned survives the death of this process."""

    def __init__(self, path: Path) -> None:
        """Open the file, or begin it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")  # a dead process loses nothing; a dead machine may: a stand-in
        self._db.executescript(_TABLES)

    def close(self) -> None:
        """Give the file back."""
        self._db.close()

    def payment(self, key: str) -> Payment:
        """Say how a payment stands."""
        query = "SELECT amount, status, reason FROM payments WHERE key = ?"
        if (row := self._db.execute(query, (key,)).fetchone()) is None:
            return Payment(key, None, Status.UNKNOWN)
        return Payment(key, row[0], Status(row[1]), row[2])

    def authorize(self, key: str, amount: int, *, refusal: str | None = None) -> Payment:
        """Hold the amount, or decline it for `refusal` or its size; raises `OtherAmount`."""
        known = self.payment(key)
        if known.amount not in {None, amount}:
            raise OtherAmount(f"{key} was asked with another amount before")
        if known.status is not Status.UNKNOWN:
            return known
        if amount > LIMIT:
            refusal = f"no more than {in_words(LIMIT)} at once"
        if refusal:
            return self._write(Payment(key, amount, Status.DECLINED, refusal))
        return self._write(Payment(key, amount, Status.AUTHORIZED), Movement.HELD)

    def void(self, key: str) -> Payment:
        """Let go what is held, and never hold anything under this key; what was taken stays taken."""
        known = self.payment(key)
        if known.status in {Status.VOIDED, Status.CAPTURED}:
            return known
        released = (Movement.RELEASED,) if known.status is Status.AUTHORIZED else ()
        return self._write(Payment(key, known.amount, Status.VOIDED, known.reason), *released)

    def capture(self, key: str) -> Payment:
        """Take what is held, once."""
        known = self.payment(key)
        if known.status is not Status.AUTHORIZED:
            return known
        return self._write(Payment(key, known.amount, Status.CAPTURED), Movement.TAKEN)

    def page(self, after: str, count: int) -> Sequence[tuple[Payment, Sequence[Movement]]]:
        """List payments with their movements, by key, behind `after`."""
        query = "SELECT key, amount, status, reason FROM payments WHERE key > ? ORDER BY key LIMIT ?"
        rows = self._db.execute(query, (after, count)).fetchall()
        return [(Payment(key, amount, Status(status), why), self.movements(key)) for key, amount, status, why in rows]

    def movements(self, key: str) -> list[Movement]:
        """List what happened to the money of one payment, in order."""
        query = "SELECT kind FROM movements WHERE key = ? ORDER BY number"
        return [Movement(kind) for (kind,) in self._db.execute(query, (key,))]

    def _write(self, payment: Payment, *movements: Movement) -> Payment:
        """Write the payment and its movements, together or not at all."""
        row = (payment.key, payment.amount, payment.status, payment.reason)
        with self._db:
            self._db.execute("INSERT OR REPLACE INTO payments (key, amount, status, reason) VALUES (?, ?, ?, ?)", row)
            for kind in movements:
                moved = (payment.key, kind, payment.amount)
                self._db.execute("INSERT INTO movements (key, kind, amount) VALUES (?, ?, ?)", moved)
        return payment


def in_words(minor: int) -> str:
    """Write an amount with two places."""
    return f"{minor // 100}.{minor % 100:02}"
