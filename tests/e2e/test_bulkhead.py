"""A bank that hangs holds up its own orders, and nothing else."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.bank import Bank
from support.customer import Customer
from support.installation import Installation
from support.polling import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

LEAST, MOST = 3, 8  # rounds: neighbours on the machine make single ones worthless, so the best of each are compared
ORDERS, AT_ONCE = 60, 8
SKU = "WHISTLE-PEALESS"


def rate(customer: Customer) -> float:
    """Return accepted orders a second, with some placed at once."""
    began = time.monotonic()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        accepted = list(pool.map(lambda _: customer.accepted(SKU), range(ORDERS)))
    return len(accepted) / (time.monotonic() - began)


def test_acceptance_keeps_its_rate_while_the_bank_hangs(system: Installation, customer: Customer) -> None:
    bank = Bank(system)
    well: list[float] = []
    hanging: list[float] = []
    try:
        while len(well) < LEAST or (len(well) < MOST and max(hanging) < 0.9 * max(well)):
            well.append(rate(customer))
            bank.trouble("slow", delay=10)
            hanging.append(rate(customer))
            bank.trouble("none")
    finally:
        bank.trouble("none")
    last = customer.accepted(SKU)
    assert customer.ended(last, within=60)["status"] in {"confirmed", "cancelled"}
    assert max(hanging) >= 0.9 * max(well), (well, hanging)
    eventually(lambda: _confirmed(customer), within=90, pause=1, what="the circuit to the bank is closed again")


def _confirmed(customer: Customer) -> bool:
    return customer.ended(customer.accepted(SKU), within=40)["status"] == "confirmed"
