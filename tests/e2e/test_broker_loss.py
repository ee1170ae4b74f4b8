"""The broker loses what it had acknowledged: it comes from the producers' journals."""

import re

import pytest

from support.customer import Customer
from support.installation import Installation, ask
from support.polling import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

ORDERS = 5


def repaired(system: Installation, name: str) -> int:
    """Count the events of orders that a service has fetched, in this life of its process."""
    told = ask(system.service(name).app_url, "GET", "/metrics").content.decode()
    found = re.search(r'^outrigger_repaired_events_total\{producer="orders"\} (\d+)', told, re.MULTILINE)
    return int(found[1]) if found else 0


def published(system: Installation) -> bool:
    """Tell whether the broker has acknowledged all that orders has told."""
    return ask(system.service("orders").app_url, "GET", "/status").json["backlog"] == 0


def test_what_a_wiped_broker_held_is_fetched_and_every_order_is_confirmed(
    system: Installation, customer: Customer
) -> None:
    customer.ended(customer.accepted("TENT-2"))
    before = {name: repaired(system, name) for name in ("inventory", "notifications")}
    with system.frozen("inventory.daprd", "notifications.daprd"):  # so that the broker holds something
        orders = [customer.accepted("TENT-2") for _ in range(ORDERS)]
        eventually(lambda: published(system), within=10, pause=0.01)
        done = system.outrigger("wipe-broker")
        assert (done.returncode, "starts again, empty" in done.stdout) == (0, True), done.stderr
    assert {customer.ended(order)["status"] for order in orders} == {"confirmed"}
    for name, count in before.items():  # not all: some of them lay in the frozen sidecar's own buffers
        eventually(lambda name=name, count=count: repaired(system, name) > count, within=30, what=f"{name} fetches")
    after = customer.accepted("TENT-2")
    assert customer.ended(after)["status"] == "confirmed", "the broker delivers as before"


def test_a_second_wipe_finds_the_broker_again(system: Installation, customer: Customer) -> None:
    for _ in range(2):
        assert system.outrigger("wipe-broker").returncode == 0
        eventually(lambda: system.state_of("valkey").process(), within=30, what="the broker is started again")
        assert customer.ended(customer.accepted("TENT-2"))["status"] == "confirmed"
