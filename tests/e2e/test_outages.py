"""Something is away for a while, or everything is: orders are taken all the same, and end."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from support.customer import Customer
from support.http import Heard
from support.installation import Installation, ask
from support.polling import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

STALE = '110 - "Response is Stale"'
IN_TIME = 15.0  # s on a busy machine; alone, the longest is five


KNOWN = {"users": "/users/user-1", "orders": "/users/user-1/orders", "inventory": "/products/TENT-2"}
NEVER_READ = {"users": "/users/user-7", "orders": "/users/user-7/orders", "inventory": "/products/MAP-COAST"}


def wish(customer: Customer, name: str) -> Heard:
    """Wish something of a service that is harmless to repeat."""
    verb, path, body = {
        "users": ("POST", "/users", {"name": "Ben Example", "email": "ben@example.org"}),
        "orders": ("POST", "/orders", {"userId": customer.user, "items": [{"sku": "TENT-2", "quantity": 1}]}),
        "inventory": ("PUT", "/products/TENT-2/price", {"price": 219}),
    }[name]
    return customer.ask(verb, f"/api/v1{path}", body)


@contextmanager
def in_time() -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < IN_TIME


def read(customer: Customer, path: str) -> Heard:
    return customer.ask("GET", f"/api/v1{path}")


@pytest.mark.parametrize("name", KNOWN)
def test_while_a_service_hangs_every_caller_gets_an_answer(system: Installation, customer: Customer, name: str) -> None:
    assert {read(customer, path).status for path in KNOWN.values()} == {200}
    with system.frozen(f"{name}.app"):
        for service, path in KNOWN.items():
            with in_time():
                heard = read(customer, path)
            assert (heard.status, heard.headers.get("warning")) == (200, STALE if service == name else None)
        with in_time():
            never_read = read(customer, NEVER_READ[name])
        with in_time():
            refused = wish(customer, name)
    for heard in (never_read, refused):
        assert heard.status == 504
        assert int(heard.headers["retry-after"]) > 0
    assert refused.json["idempotencyKey"]


@pytest.mark.parametrize("name", ["users", "inventory", "payments", "notifications"])
def test_while_another_service_hangs_orders_are_accepted(system: Installation, customer: Customer, name: str) -> None:
    customer.accepted("TENT-2")  # from here on orders knows them
    with system.frozen(f"{name}.app"):
        with in_time():
            orders = [customer.accepted("TENT-2") for _ in range(5)]
        assert {customer.shown(order)["status"] for order in orders} <= {"pending", "reserved", "confirmed"}
    for order in orders:
        customer.ended(order)


def test_what_a_hanging_service_took_after_all_is_taken_once(system: Installation, customer: Customer) -> None:
    with system.frozen("orders.app"):
        heard = customer.order("TENT-2", key="hanging")
        assert (heard.status, heard.json["idempotencyKey"]) == (504, "hanging")
    order = customer.persistently("TENT-2", key="hanging", within=60)
    customer.ended(order)
    listed = eventually(lambda: read(customer, f"/users/{customer.user}/orders").json["orders"], within=15)
    assert [each["orderId"] for each in listed] == [order]


def test_an_open_circuit_gives_old_answers_and_refuses_wishes(system: Installation, customer: Customer) -> None:
    known = KNOWN["inventory"]
    assert read(customer, known).status == 200
    with system.frozen("inventory.app"):
        hammer(lambda: read(customer, known))
        hammer(lambda: wish(customer, "inventory"))
        began = time.monotonic()
        old, never, refused = read(customer, known), read(customer, "/products/MAP-RIVERS"), wish(customer, "inventory")
        assert time.monotonic() - began < IN_TIME / 3, "an open circuit waits for nobody"
    assert (old.status, old.headers["warning"], int(old.headers["age"]) > 0) == (200, STALE, True)
    assert (never.status, never.headers["retry-after"], never.json["title"]) == (503, "30", "CircuitOpen")
    assert (refused.status, refused.headers["retry-after"]) == (503, "30")
    assert refused.json["idempotencyKey"]
    eventually(lambda: "warning" not in read(customer, known).headers, within=60, what="its circuit closes")
    eventually(lambda: wish(customer, "inventory").status == 200, within=60, what="its circuit closes")


def hammer(call: Callable[[], Heard]) -> None:
    """Call often enough at once for a circuit to notice: half of at least ten calls within ten seconds."""
    with ThreadPoolExecutor(12) as pool:
        for heard in pool.map(lambda _: call(), range(12)):
            assert heard.status in {200, 503, 504}


def test_a_stranger_waits_for_users_and_nobody_else_does(system: Installation, customer: Customer) -> None:
    """An unknown user is asked for before they are refused; that must open no circuit to orders."""
    with system.frozen("users.app"):
        strangers = [Customer(system, f"stranger-{number}") for number in range(24)]
        with in_time(), ThreadPoolExecutor(12) as pool:
            heard = list(pool.map(lambda stranger: stranger.order("TENT-2"), strangers))
        assert {(each.status, each.json["title"]) for each in heard} == {(503, "DependencyAway")}
        order = customer.accepted("TENT-2")
    assert customer.ended(order)["status"] == "confirmed"
    eventually(lambda: strangers[0].order("TENT-2").status == 422, within=60, what="users is asked again")


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
