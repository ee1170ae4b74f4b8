"""Three replicas of each service on one store: they share the work, and whoever goes leaves nothing undone."""

from collections.abc import Iterator

import pytest

from support import replicas
from support.customer import Customer
from support.installation import Installation

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]


@pytest.fixture(autouse=True)
def alone_again(system: Installation) -> Iterator[None]:
    """Leave one of each to whoever comes next."""
    yield
    system.scale(1)


def test_three_replicas_go_to_one_and_back_in_mid_order(system: Installation, customer: Customer) -> None:
    system.scale(3)
    replicas.share_the_work(system, customer, 3)
    replicas.scaled_in_mid_order(system, customer, 1)
    system.scale(3)
    replicas.share_the_work(system, customer, 3)


@pytest.mark.parametrize("service", ["orders", "payments"])
def test_a_paused_owner_is_fenced(system: Installation, customer: Customer, service: str) -> None:
    system.scale(2, service)
    replicas.a_paused_owner_is_fenced(system, customer, service)


def test_a_restart_puts_one_more_in_the_place_of_who_is_away(system: Installation, customer: Customer) -> None:
    system.scale(2, "orders")
    before = [system.state_of(f"{name}.app").pid for name in ("orders", "orders-1")]
    with replicas.Crowd(customer, replicas.SKUS, replicas.ORDERS) as crowd:
        done = system.outrigger("restart", "orders")
        assert done.returncode == 0, done.stderr
    after = [system.state_of(f"{name}.app").pid for name in replicas.names(system, "orders")]
    assert len(after) == len(before)
    assert not set(after) & set(before)
    assert {customer.ended(order)["status"] for order in crowd.accepted.values()} <= replicas.ENDED
