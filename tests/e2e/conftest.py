"""The whole system on real sidecars and a real broker, started once for all tests here; audited after each.

Needs the network (namespace) to itself: the launcher refuses a second instance.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.bank import Bank
from support.customer import Customer
from support.installation import Installation, running
from support.polling import eventually

HERE = Path(__file__).parent
LAST = ("test_readme", "test_replicas")
ORDER_DEADLINE = 15.0
RESERVATION_DEADLINE = 12.0
SETTINGS = {
    "ORDER_DEADLINE_SECONDS": str(ORDER_DEADLINE),
    "RESERVATION_DEADLINE_SECONDS": str(RESERVATION_DEADLINE),
    "WALK_EVERY": "1",  # what the broker loses is back well before the deadline
    "WALK_PATIENCE": "1.5",
    "MARKS_KEPT": "5",  # so that marks go while tests run, and the auditor must do without them
    "LEASE": "3",  # an idle service writes down how far it is every third of it, which the auditor waits for
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let those come last who start replicas: their lanes stay, and a view of several is the same but for its order."""
    places = [n for n, item in enumerate(items) if item.path.parent == HERE]
    ordered = sorted((items[n] for n in places), key=lambda item: item.path.stem in LAST)
    for n, item in zip(places, ordered, strict=True):
        items[n] = item


@pytest.fixture(scope="package")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Run the system in a folder with a space in its name, and leave no process."""
    with running(tmp_path_factory.mktemp("e2e") / "a folder", SETTINGS) as installation:
        yield installation


@pytest.fixture
def system(installed: Installation, request: pytest.FixtureRequest) -> Iterator[Installation]:
    """Hand over the running system; afterwards its books must be in order (`audited_together`: once a module)."""
    installed.settle()
    if request.node.get_closest_marker("audited_together"):
        request.getfixturevalue("audited")
        yield installed
    else:
        yield installed
        _audit(installed)


@pytest.fixture(scope="module")
def audited(installed: Installation) -> Iterator[None]:
    """Audit when the last test of a module is done."""
    yield
    _audit(installed)


def _audit(installed: Installation) -> None:
    installed.settle()
    found = installed.audit(deadline=2 * ORDER_DEADLINE)
    assert found["clean"], "\n".join(found["violations"])


@pytest.fixture
def customer(system: Installation) -> Customer:
    """Return somebody who has never ordered before."""
    return Customer.registered(system)


@pytest.fixture
def bank(system: Installation, customer: Customer) -> Iterator[Bank]:
    """Give the bank; afterwards it is well, and no circuit to it is open."""
    bank = Bank(system)
    yield bank
    bank.trouble("none")
    eventually(lambda: _confirmed(customer), within=90, what="an order is confirmed again", pause=1)


def _confirmed(customer: Customer) -> bool:
    return customer.ended(customer.accepted("CANOE-CEDAR"), within=40)["status"] == "confirmed"
