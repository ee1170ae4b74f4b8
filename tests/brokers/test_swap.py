"""A running system goes to another broker, and at rest to another store: nobody who orders notices, the books agree."""

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from brokers.test_flow import SKUS
from brokers.whole import broker_of, in_order, pids_of, require, running_on
from support.customer import ENDED, Crowd, Customer
from support.installation import REPOSITORY, Installation
from support.polling import eventually

pytestmark = [pytest.mark.brokers, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Run on Valkey and SQLite, on a machine that has the others too."""
    with running_on(tmp_path_factory.mktemp("swap"), "redis", "sqlite") as system:
        for broker in ("rabbitmq", "kafka"):
            require(system, broker, "postgresql")
        yield system


@pytest.fixture
def customer(system: Installation) -> Customer:
    return Customer.registered(system)


def swapped(system: Installation, broker: str) -> dict[str, Any]:
    done = system.outrigger("swap", "--broker", broker, "--json", within=500)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def sources(system: Installation) -> list[str]:
    """Name the files that are not as they are in the repository."""
    pairs = [(REPOSITORY / part, system.home.root / part) for part in ("components", "dapr/dapr.yaml")]
    asked = [subprocess.run(["diff", "-rq", *pair], capture_output=True, text=True, check=False) for pair in pairs]
    return [each.stdout for each in asked]


@pytest.mark.parametrize("broker", ["rabbitmq", "kafka", "redis"])
def test_a_swap_under_load_starts_nothing_again(system: Installation, customer: Customer, broker: str) -> None:
    before, was = pids_of(system), broker_of(system)
    with Crowd(customer, SKUS, 120) as crowd:
        eventually(lambda: len(crowd.accepted) >= 12, within=60, pause=0.005)
        told = swapped(system, broker)
    assert (told["after"], told["restarted"]) == (broker, [])
    assert pids_of(system) == before
    assert told["quiet"] is not None
    assert {customer.ended(order, within=90)["status"] for order in crowd.accepted.values()} <= ENDED
    in_order(system)
    described = json.loads(system.outrigger("status", "--json").stdout)
    assert described["broker"] == broker
    names = {part["name"] for part in described["parts"]}
    assert broker_of(system) in names
    assert was not in names, "the old broker is still there"
    assert sources(system) == ["", ""]


def test_what_cannot_be_swapped_is_refused_in_a_sentence(system: Installation) -> None:
    same = system.outrigger("swap", "--broker", system.run.broker)
    assert (same.returncode, same.stderr.strip()) == (1, f"outrigger: {system.run.broker} is the broker already.")
    assert "is not one of" in system.outrigger("swap", "--broker", "nats").stderr
    with ThreadPoolExecutor() as pool:
        first = pool.submit(swapped, system, "kafka")
        eventually(lambda: "kafka" in system.run.parts, within=60, pause=0.01)
        second = system.outrigger("swap", "--broker", "rabbitmq")
        assert "The launcher is busy with `swap kafka`: wait until that is done." in second.stderr
        assert first.result()["after"] == "kafka"


def test_a_broker_that_is_wiped_under_load_costs_nothing(system: Installation, customer: Customer) -> None:
    """Each of them: `test_a_swap_under_load_starts_nothing_again` leaves Valkey, the test before this Kafka."""
    for broker in ("kafka", "rabbitmq"):
        if system.run.broker != broker:
            swapped(system, broker)
        with Crowd(customer, SKUS, 60) as crowd:
            eventually(lambda: len(crowd.accepted) >= 12, within=60, pause=0.005)
            done = system.outrigger("wipe-broker")
        assert done.returncode == 0, done.stderr
        assert {customer.ended(order, within=90)["status"] for order in crowd.accepted.values()} <= ENDED
        in_order(system)


def test_what_dies_after_a_swap_comes_back_on_the_new_broker(system: Installation, customer: Customer) -> None:
    broker = "redis"
    if system.run.broker != broker:
        swapped(system, broker)
    back = [system.kill(name) for name in ("inventory.daprd", broker_of(system))]
    eventually(lambda: all(each() for each in back), within=60, what="both are started again")
    assert system.outrigger("restart", "orders", "--sidecars").returncode == 0
    system.settle()
    assert customer.ended(customer.accepted("TENT-2"), within=60)["status"] == "confirmed"
    types = [each["type"] for each in system.sidecar("inventory", "GET", "/v1.0/metadata").json["components"]]
    assert f"pubsub.{broker}" in types


def test_ledgers_move_to_another_store_at_rest(system: Installation, customer: Customer) -> None:
    order = customer.accepted("TENT-2")
    customer.ended(order)
    refused = system.outrigger("move-store", "--store", "postgresql")
    assert (refused.returncode, "stop it with `outrigger down`" in refused.stderr) == (1, True)
    in_order(system)
    before = system.audit(deadline=60)
    system.down()
    moved = system.outrigger("move-store", "--store", "postgresql", within=300)
    assert moved.returncode == 0, moved.stderr
    again = system.outrigger("move-store", "--store", "postgresql")
    assert "There are ledgers on postgresql too" in again.stderr
    other = replace(system, choice=("--broker", "redis", "--store", "postgresql"))
    other.up()
    assert customer.shown(order)["status"] == "confirmed"
    assert customer.ended(customer.accepted("TENT-2"))["status"] == "confirmed"
    in_order(other)
    after = other.audit(deadline=60)
    assert after["orders"]["confirmed"] == before["orders"]["confirmed"] + 1
