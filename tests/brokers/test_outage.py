"""The broker is away for two minutes: orders are taken all the same, the service says so, and then all of them end."""

import time
from pathlib import Path
from uuid import uuid4

import pytest

from brokers.book import Book
from brokers.whole import broker_of, in_order, running_on
from outrigger.choice import Broker
from support.customer import ENDED, Customer
from support.installation import ask
from support.polling import eventually

pytestmark = [pytest.mark.conformance, pytest.mark.timeout(500)]

OUTAGE = 120.0  # s
ORDERS = 200
PATIENT = {"ORDER_DEADLINE_SECONDS": "600", "RESERVATION_DEADLINE_SECONDS": "590", "PAYMENT_DEADLINE_SECONDS": "590"}


@pytest.mark.parametrize("broker", Broker)
def test_two_minutes_without_the_broker(broker: Broker, tmp_path: Path, book: Book) -> None:
    with running_on(tmp_path, broker, "sqlite", **PATIENT) as system:
        customer = Customer.registered(system)
        customer.ended(customer.accepted("TENT-2"))
        url = system.service("orders").app_url
        with system.frozen(broker_of(system)):
            until = time.monotonic() + OUTAGE
            orders = [customer.persistently("KETTLE-1", key=str(uuid4()), within=60) for _ in range(ORDERS)]
            eventually(lambda: ask(url, "GET", "/ready").json["degraded"], within=60, what="orders says so")
            assert ask(url, "GET", "/ready").status == 200
            eventually(lambda: time.monotonic() > until, within=OUTAGE + 5)  # the span itself is what is tested
        began = time.monotonic()
        assert {customer.ended(order, within=200)["status"] for order in orders} <= ENDED
        book.measure(broker, "orders a second that end after two minutes without the broker", ORDERS / _since(began))
        eventually(lambda: not ask(url, "GET", "/ready").json["degraded"], within=60, what="orders is well again")
        in_order(system)
    book.note(broker, "the broker hangs for two minutes", "orders are taken, /ready says degraded; then all end")


def _since(began: float) -> float:
    return time.monotonic() - began
