"""Something is away for a while, or everything is: orders are taken all the same, and end."""

import pytest

from support.customer import Customer
from support.installation import Installation, ask
from support.polling import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


def test_without_inventory_orders_are_accepted_and_their_deadline_cancels_them(
    system: Installation, customer: Customer
) -> None:
    before = system.document("inventory", "stock/TENT-4")
    with system.frozen("inventory.app", "inventory.daprd"):
        orders = [customer.accepted("TENT-4") for _ in range(5)]
        shown = [customer.ended(order) for order in orders]
    assert {each["status"] for each in shown} == {"cancelled"}
    assert {each["reason"] for each in shown} == {"not settled in time: still pending at the deadline"}
    eventually(lambda: all(_released(system, order) for order in orders), within=40)
    assert system.document("inventory", "stock/TENT-4") == before


def _released(system: Installation, order: str) -> bool:
    state = system.document("inventory", f"reservation/{order}")
    return state is not None and state["status"] == "released"


def test_without_the_broker_orders_are_accepted_and_the_service_says_that_it_is_degraded(
    system: Installation, customer: Customer
) -> None:
    url = system.service("orders").app_url
    with system.frozen("valkey"):
        orders = [customer.accepted("TENT-2") for _ in range(5)]
        eventually(
            lambda: ask(url, "GET", "/ready").json["degraded"], within=40, what="orders says that it is degraded"
        )
        told = ask(url, "GET", "/ready")
        assert (told.status, told.json["reasons"]) == (200, ["the broker takes no events"])
        orders += [customer.accepted("TENT-2") for _ in range(5)]
    for order in orders:
        customer.ended(order)
    eventually(lambda: not ask(url, "GET", "/ready").json["degraded"], within=30, what="orders is well again")


def test_orders_are_still_there_after_everything_was_stopped_and_started(
    system: Installation, customer: Customer
) -> None:
    old = customer.ended(customer.accepted("TENT-2", key="before"))
    fresh = [customer.accepted("KETTLE-1") for _ in range(10)]
    system.down()
    system.up()
    assert customer.shown(old["orderId"]) == old
    assert customer.accepted("TENT-2", key="before") == old["orderId"]
    for order in fresh:
        customer.ended(order)
