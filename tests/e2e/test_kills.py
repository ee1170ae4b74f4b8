"""Any process is killed without warning while orders come in: what was accepted ends, once."""

import pytest

from support.customer import ENDED, Crowd, Customer
from support.installation import Installation
from support.polling import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

ORDERS = 60
VICTIMS = ("orders.app", "orders.daprd", "inventory.app", "inventory.daprd", "gateway.app", "gateway.daprd", "valkey")
SKUS = ["DRYBAG-10", "BARREL-30", "TENT-2", "KETTLE-1", "MAP-COAST"]


@pytest.mark.parametrize("victim", VICTIMS)
def test_killed_in_mid_order(system: Installation, customer: Customer, victim: str) -> None:
    with Crowd(customer, SKUS, ORDERS) as crowd:
        eventually(lambda: len(crowd.accepted) >= ORDERS // 5, within=30, pause=0.005)
        back = system.kill(victim)
        assert len(crowd.accepted) < ORDERS, "too late: every order was accepted before"
    eventually(back, within=30, what=f"{victim} is started again")
    system.settle()
    assert crowd.again() == crowd.accepted, "a repeated request gave another order"
    assert {customer.ended(order)["status"] for order in crowd.accepted.values()} <= ENDED
    assert created(system, customer) == sorted(crowd.accepted.values())


def created(system: Installation, customer: Customer) -> list[str]:
    """Return every order of this customer, whether its acceptance was heard of or not."""
    facts = [event for event in system.ledger("orders").events if event["eventType"] == "OrderCreated"]
    return sorted(fact["payload"]["orderId"] for fact in facts if fact["payload"]["userId"] == customer.user)
