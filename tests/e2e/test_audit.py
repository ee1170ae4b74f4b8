"""The auditor sees it when somebody has been at the books, whichever book it is."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from chassis import keys
from support.customer import Customer
from support.installation import Installation

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

Corruption = Callable[[Installation, str], Any]  # a context manager: corrupts, and puts right again


def value(system: Installation, service: str, key: str) -> Any:
    return system.sidecar(service, "GET", f"/v1.0/state/store/{key}").json


def write(system: Installation, service: str, key: str, what: Any) -> None:
    assert system.sidecar(service, "POST", "/v1.0/state/store", [{"key": key, "value": what}]).status == 204


@contextmanager
def rewritten(system: Installation, service: str, key: str, what: Any) -> Iterator[None]:
    before = value(system, service, key)
    write(system, service, key, what)
    try:
        yield
    finally:
        write(system, service, key, before)


def record_of(system: Installation, order_id: str) -> str:
    """Return the key of the record that holds an order's first event."""
    ledger = system.ledger("orders")
    place = next(p for p, r in ledger.records.items() if r and any(_is_first(e, order_id) for e in r["events"]))
    return keys.record(*place)


def _is_first(event: dict[str, Any], order_id: str) -> bool:
    return event["subject"] == f"order/{order_id}" and event["revision"] == 1


def an_altered_record(system: Installation, order_id: str) -> Any:
    key = record_of(system, order_id)
    record = json.loads(json.dumps(value(system, "orders", key)))
    next(e for e in record["events"] if _is_first(e, order_id))["payload"]["userId"] = "somebody-else"
    return rewritten(system, "orders", key, record)


@contextmanager
def a_lost_record(system: Installation, order_id: str) -> Iterator[None]:
    key = record_of(system, order_id)
    before = value(system, "orders", key)
    assert system.sidecar("orders", "DELETE", f"/v1.0/state/store/{key}").status == 204
    try:
        yield
    finally:
        write(system, "orders", key, before)


def an_altered_document(system: Installation, order_id: str) -> Any:
    key = keys.document("order", order_id)
    document = value(system, "orders", key)
    return rewritten(system, "orders", key, {**document, "state": {**document["state"], "total": 0.01}})


def altered_stock(system: Installation, order_id: str) -> Any:
    key = keys.document("stock", "PADDLE-ASH")
    document = value(system, "inventory", key)
    more = {**document["state"], "available": document["state"]["available"] + 1}
    return rewritten(system, "inventory", key, {**document, "state": more})


@contextmanager
def an_altered_book(system: Installation, order_id: str) -> Iterator[None]:
    with closing(sqlite3.connect(system.home.data / "bank.db", timeout=20)) as book:
        change = "UPDATE payments SET status = ? WHERE key = ?"
        with book:
            assert book.execute(change, ("authorized", order_id)).rowcount == 1
        try:
            yield
        finally:
            with book:
                book.execute(change, ("captured", order_id))


@contextmanager
def changed(file: Path, text: str | None) -> Iterator[None]:
    before = file.read_bytes()
    if text is None:
        file.unlink()
    else:
        file.write_text(text)
    try:
        yield
    finally:
        file.write_bytes(before)


def mail(system: Installation, order_id: str) -> Path:
    return system.home.root / ".outrigger" / "mail" / f"confirmed-{order_id}.eml"


def a_lost_mail(system: Installation, order_id: str) -> Any:
    return changed(mail(system, order_id), None)


def an_altered_mail(system: Installation, order_id: str) -> Any:
    file = mail(system, order_id)
    return changed(file, file.read_text().replace(order_id, "another"))


@contextmanager
def a_mail_too_many(system: Installation, order_id: str) -> Iterator[None]:
    file = mail(system, order_id)
    copy = file.with_name("again.eml")
    copy.write_bytes(file.read_bytes())
    try:
        yield
    finally:
        copy.unlink()


SEEN = {
    a_lost_record: "of lane 0 is missing",
    an_altered_record: "order/{order}: user_id is not what its events say",
    an_altered_document: "order/{order}: total is not what its events say",
    altered_stock: "stock/PADDLE-ASH: available is not what its events say",
    an_altered_book: "payment/{order}: PaymentCaptured, but in the bank's book it is authorized",
    a_lost_mail: "confirmed-{order}@outrigger.example> is due and is not in the folder",
    an_altered_mail: "confirmed-another@outrigger.example> lies in the folder, and nobody asked for it",
    a_mail_too_many: "confirmed-{order}@outrigger.example> lies 2 times in the folder",
}


def test_whatever_was_changed_is_reported(system: Installation, customer: Customer) -> None:
    orders = {corrupt: customer.accepted("PADDLE-ASH") for corrupt in SEEN}
    assert {customer.ended(order_id)["status"] for order_id in orders.values()} == {"confirmed"}
    assert system.audit(deadline=60)["clean"]
    with ExitStack() as stack:
        for corrupt, order_id in orders.items():
            stack.enter_context(corrupt(system, order_id))
        found = system.audit(deadline=60)
    assert not found["clean"]
    for corrupt, expected in SEEN.items():
        words = expected.format(order=orders[corrupt])
        assert any(words in violation for violation in found["violations"]), (corrupt.__name__, found["violations"])
