"""Events that come from outside, by hand: bare envelopes through a sidecar's publish API."""

from typing import Any
from uuid import uuid4

import pytest

from support.customer import Customer
from support.events import envelope
from support.installation import Installation
from support.polling import eventually

pytestmark = pytest.mark.e2e


def price_changed(sku: str, price: float, **more: Any) -> dict[str, Any]:
    return envelope("PriceChanged", {"sku": sku, "name": "by hand", "price": price}, **more)


def price(system: Installation, sku: str) -> float:
    """Read the copy that orders keeps."""
    state = system.document("orders", f"price/{sku}")
    assert state
    return state["price"]


def letters(system: Installation, about: str) -> list[dict[str, Any]]:
    """Return the dead letters of orders that contain some text."""
    return [letter for letter in system.ledger("orders").letters if about in str(letter)]


def test_a_new_price_holds_for_the_next_order(system: Installation, customer: Customer) -> None:
    system.publish("inventory", price_changed("SEAT-CANE", 12.34))
    eventually(lambda: price(system, "SEAT-CANE") == 12.34, within=15)
    assert customer.shown(customer.accepted("SEAT-CANE", 2))["total"] == 24.68


def test_an_event_that_comes_twice_is_handled_once(system: Installation) -> None:
    first, second = price_changed("YOKE-CARVED", 1.0), price_changed("YOKE-CARVED", 2.0)
    for event in (first, second):
        system.publish("inventory", event)
        eventually(lambda event=event: price(system, "YOKE-CARVED") == event["payload"]["price"], within=15)
    system.publish("inventory", first)
    system.publish("inventory", price_changed("SEAT-CANE", 3.0))  # arrives behind it
    eventually(lambda: price(system, "SEAT-CANE") == 3.0, within=15)
    assert price(system, "YOKE-CARVED") == 2.0


def test_an_order_that_nobody_owns_is_reserved_once_and_released(system: Installation) -> None:
    order = str(uuid4())
    line = {"sku": "CART-PORTAGE", "quantity": 3, "unitPrice": 10.0}
    event = envelope("OrderCreated", {"orderId": order, "userId": "nobody", "items": [line], "total": 30.0})
    before = system.document("inventory", "stock/CART-PORTAGE")
    for _ in range(2):
        system.publish("orders", event)
    eventually(lambda: status(system, order) == "held", within=15)
    eventually(lambda: status(system, order) == "released", within=30)
    assert system.document("inventory", "stock/CART-PORTAGE") == before
    facts = [e["eventType"] for e in system.ledger("inventory").subjects()[f"reservation/{order}"]]
    assert facts == ["StockReserved", "ReservationOverdue", "StockReleased"]


def status(system: Installation, order: str) -> str | None:
    """Read how a reservation stands."""
    state = system.document("inventory", f"reservation/{order}")
    return state["status"] if state else None


UNREADABLE = {
    "no payload": ({"eventType": "PriceChanged", "eventId": "bare"}, "timestamp"),
    "wrong payload": (envelope("PriceChanged", {"sku": "SEAT-CANE", "name": "x", "price": -1}), "price"),
    "unknown version": (price_changed("SEAT-CANE", 4.0, version="9.0"), "version 9.0 is unknown here"),
    "no envelope": ("good morning", "the event envelope"),
}


@pytest.mark.parametrize(("event", "reason"), UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_read_becomes_a_dead_letter(
    system: Installation, customer: Customer, event: Any, reason: str
) -> None:
    before, marker = len(letters(system, reason)), round(10 + 0.01 * len(system.ledger("orders").letters), 2)
    kind = "text/plain" if isinstance(event, str) else "application/json"
    for sent, form in ((price_changed("DRYBAG-20", 9.99), "application/json"), (event, kind)):
        assert system.sidecar("inventory", "POST", "/v1.0/publish/pubsub/inventory", sent, form).status == 204
    system.publish("inventory", price_changed("DRYBAG-20", marker))
    eventually(lambda: len(letters(system, reason)) == before + 1, within=15)
    eventually(lambda: price(system, "DRYBAG-20") == marker, within=15, what="the neighbours pass")
