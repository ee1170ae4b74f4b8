"""A bank that hangs holds up its own orders, and nothing else."""

import time
from concurrent.futures import ThreadPoolExecutor
from statistics import median

import pytest

from support.bank import Bank
from support.customer import Customer

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

LEAST, MOST = 3, 12  # rounds of each, in turn: neighbours make single ones worthless, so medians are compared
ORDERS, AT_ONCE = 60, 8
SKU = "WHISTLE-PEALESS"


def rate(customer: Customer) -> float:
    """Return accepted orders a second, with some placed at once."""
    began = time.monotonic()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        accepted = list(pool.map(lambda _: customer.accepted(SKU), range(ORDERS)))
    return len(accepted) / (time.monotonic() - began)


def test_acceptance_keeps_its_rate_while_the_bank_hangs(customer: Customer, bank: Bank) -> None:
    well: list[float] = []
    hanging: list[float] = []
    while len(well) < LEAST or (len(well) < MOST and median(hanging) < 0.9 * median(well)):
        well.append(rate(customer))
        bank.trouble("slow", delay=10)
        hanging.append(rate(customer))
        bank.trouble("none")
    last = customer.accepted(SKU)
    assert customer.ended(last, within=60)["status"] in {"confirmed", "cancelled"}
    assert median(hanging) >= 0.9 * median(well), (well, hanging)
