"""The life of an order, as a customer sees it."""

import pytest

from support.customer import Customer
from support.installation import Installation
from support.polling import eventually

pytestmark = pytest.mark.e2e


def stock(system: Installation, sku: str) -> tuple[int, int, int]:
    """Read what is available, reserved and committed."""
    state = system.document("inventory", f"stock/{sku}")
    assert state
    return state["available"], state["reserved"], state["committed"]


def test_an_order_is_reserved_confirmed_and_its_stock_committed(system: Installation, customer: Customer) -> None:
    available, _, committed = stock(system, "OAR-PAIR")
    heard = customer.order("OAR-PAIR", 2)
    assert heard.headers["location"] == f"/api/v1/orders/{heard.json['orderId']}"
    shown = customer.ended(heard.json["orderId"])
    assert [moment["status"] for moment in shown["timeline"]] == ["pending", "reserved", "confirmed"]
    assert (shown["total"], shown["userId"], shown["reason"]) == (196.0, customer.user, None)
    eventually(lambda: stock(system, "OAR-PAIR") == (available - 2, 0, committed + 2), within=15)


def test_an_order_for_more_than_there_is_is_cancelled_with_the_reason(system: Installation, customer: Customer) -> None:
    before = stock(system, "PADDLE-SIGNED")
    shown = customer.ended(customer.accepted("PADDLE-SIGNED", 6))
    assert shown["status"] == "cancelled"
    assert shown["reason"] == "not enough stock of PADDLE-SIGNED"
    assert stock(system, "PADDLE-SIGNED") == before


def test_the_same_key_gives_the_same_order(customer: Customer) -> None:
    first = customer.order("SAIL-LATEEN", key="mine")
    assert first.status == 202
    again = customer.order("SAIL-LATEEN", key="mine")
    assert (again.status, again.json, again.headers["location"]) == (202, first.json, first.headers["location"])


def test_the_same_key_with_another_body_is_refused(customer: Customer) -> None:
    customer.accepted("SAIL-LATEEN", key="mine")
    refused = customer.order("SAIL-LATEEN", 2, key="mine")
    assert (refused.status, refused.json["type"]) == (422, "problem:KeyReused")


def test_somebody_elses_key_is_another_key(system: Installation, customer: Customer) -> None:
    mine, theirs = (each.accepted("SAIL-LATEEN", key="ours") for each in (customer, Customer.registered(system)))
    assert mine != theirs
