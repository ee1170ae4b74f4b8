"""Three replicas of each service on PostgreSQL: as on SQLite, with a server between them."""

from collections.abc import Iterator

import pytest

from brokers.whole import in_order, running_on
from support import replicas
from support.customer import Customer
from support.installation import Installation

pytestmark = [pytest.mark.brokers, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Run three of each, and leave no process."""
    with running_on(tmp_path_factory.mktemp("replicas"), "redis", "postgresql") as system:
        system.scale(3)
        yield system


def test_three_replicas_share_the_work_and_go_to_one_in_mid_order(system: Installation) -> None:
    customer = Customer.registered(system)
    replicas.share_the_work(system, customer, 3)
    in_order(system)
    replicas.scaled_in_mid_order(system, customer, 1)
    in_order(system)


def test_a_paused_owner_is_fenced(system: Installation) -> None:
    system.scale(2, "orders")
    replicas.a_paused_owner_is_fenced(system, Customer.registered(system), "orders")
    in_order(system)
