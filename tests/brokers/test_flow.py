"""The same system on other brokers and stores: every order ends, the books are in order, one trace reaches through."""

import json
import time
from collections.abc import Iterator

import pytest

from brokers.whole import broker_of, edited_for, in_order, running_on
from support.customer import ENDED, Crowd, Customer
from support.installation import Installation
from support.polling import eventually
from support.traces import EDGES, edges, traced, whole, zipkin_of

pytestmark = [pytest.mark.brokers, pytest.mark.timeout(300)]
core = pytest.mark.e2e  # `make test` has these too: half a minute a combination

COMBINATIONS = [("rabbitmq", "sqlite"), ("kafka", "sqlite"), ("redis", "postgresql"), ("kafka", "postgresql")]
EDITED = ("kafka", "postgresql")  # chosen in the template; the others by the command line
SKUS = ["DRYBAG-10", "BARREL-30", "TENT-2", "KETTLE-1", "MAP-COAST"]


@pytest.fixture(scope="module", params=COMBINATIONS, ids="-".join)
def system(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Run the system on a broker and a store, and leave no process."""
    broker, store = request.param
    start = edited_for if request.param == EDITED else running_on
    with start(tmp_path_factory.mktemp(f"{broker}-{store}"), broker, store) as system:
        assert (system.run.broker, system.run.store) == (broker, store)
        yield system


def on(*names: str) -> pytest.MarkDecorator:
    """Run a test on the combinations that have one of these."""
    chosen = [pair for pair in COMBINATIONS if set(pair) & set(names)]
    return pytest.mark.parametrize("system", chosen, indirect=True, scope="module", ids="-".join)


@pytest.fixture
def customer(system: Installation) -> Customer:
    return Customer.registered(system)


@core
def test_a_hundred_orders_end_as_they_should(system: Installation) -> None:
    system.outrigger("faults", "bank", "--mode", "decline", "--rate", "0.2")
    placed = ("order", "--count", "100", "--cancel-percent", "10", "--reject-percent", "10", "--wait", "--json")
    done = system.outrigger(*placed)
    system.outrigger("faults", "bank", "--mode", "none")
    tally = json.loads(done.stdout)
    assert tally["open"] == 0
    assert tally["confirmed"] > 0
    assert tally["cancelled"] >= 10  # those that want more than there is, at the least
    in_order(system)


@core
def test_one_trace_reaches_through_the_broker(system: Installation, customer: Customer) -> None:
    zipkin = zipkin_of(system)
    order, trace = traced(customer)
    assert customer.ended(order)["status"] == "confirmed"
    services = {span["localEndpoint"]["serviceName"] for span in whole(zipkin, trace)}
    assert services >= {"gateway", "orders", "inventory", "payments", "notifications"}
    assert edges(zipkin, time.time()) >= EDGES


def test_its_parts_are_shown_and_speak(system: Installation) -> None:
    names = {part["name"] for part in json.loads(system.outrigger("status", "--json").stdout)["parts"]}
    servers = {broker_of(system)} | ({"postgresql"} if system.run.store == "postgresql" else set())
    assert servers <= names
    for server in servers:
        assert system.outrigger("logs", server).returncode == 0


def test_an_app_and_a_sidecar_are_killed_in_mid_order(system: Installation, customer: Customer) -> None:
    """What they had taken is delivered again, and absorbed."""
    with Crowd(customer, SKUS, 60) as crowd:
        eventually(lambda: len(crowd.accepted) >= 12, within=30, pause=0.005)
        back = [system.kill(name) for name in ("inventory.daprd", "payments.app")]
    eventually(lambda: all(each() for each in back), within=30, what="both are started again")
    system.settle()
    assert {customer.ended(order, within=60)["status"] for order in crowd.accepted.values()} <= ENDED
    in_order(system)


@on("postgresql")
def test_the_store_s_server_is_killed_in_mid_order(system: Installation, customer: Customer) -> None:
    """What was accepted is there and ends; nobody is told meanwhile that it never was."""
    with Crowd(customer, SKUS, 60) as crowd:
        eventually(lambda: len(crowd.accepted) >= 12, within=30, pause=0.005)
        back = system.kill("postgresql")
    eventually(back, within=30, what="postgresql is started again")
    system.settle()
    assert crowd.again() == crowd.accepted, "a repeated request gave another order"
    assert {customer.ended(order)["status"] for order in crowd.accepted.values()} <= ENDED
    in_order(system)


def test_the_broker_is_killed_in_mid_order(system: Installation, customer: Customer) -> None:
    """What it takes along, consumers fetch from the producers' journals."""
    with Crowd(customer, SKUS, 60) as crowd:
        eventually(lambda: len(crowd.accepted) >= 12, within=30, pause=0.005)
        back = system.kill(broker_of(system))
    eventually(back, within=60, what="the broker is started again")
    assert {customer.ended(order, within=90)["status"] for order in crowd.accepted.values()} <= ENDED
    in_order(system)
