"""The money of an order: what the customer is told, what payments notes and what the bank's own book says agree."""

from pathlib import Path

import pytest

from support.bank import Bank
from support.customer import Crowd, Customer
from support.installation import Installation
from support.polling import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

SKU = "CANOE-CEDAR"
TAKEN = ["held", "taken"]


def status(system: Installation, order_id: str) -> str | None:
    """Say how the payment stands with payments."""
    state = system.document("payments", f"payment/{order_id}")
    return state["status"] if state else None


def until(system: Installation, order_id: str, wanted: str, *, within: float = 30.0) -> None:
    eventually(lambda: status(system, order_id) == wanted, within=within, what=f"the payment is {wanted}")


def test_a_confirmed_order_is_paid_once(system: Installation, customer: Customer, bank: Bank) -> None:
    order = customer.accepted(SKU, 2)
    assert customer.ended(order)["status"] == "confirmed"
    until(system, order, "captured")
    assert bank.book()[order] == {
        "key": order, "amount": f"{customer.shown(order)['total']:.2f}", "status": "captured", "reason": None,
        "movements": TAKEN,
    }  # fmt: skip


def test_what_the_bank_declines_is_cancelled_and_its_goods_are_free_again(
    system: Installation, customer: Customer, bank: Bank
) -> None:
    before = system.document("inventory", "stock/KAYAK-SEA")
    order = customer.accepted("KAYAK-SEA", 100)
    shown = customer.ended(order)
    assert (shown["status"], shown["reason"]) == ("cancelled", "no more than 100000.00 at once")
    assert (status(system, order), bank.movements(order)) == ("declined", [])
    eventually(lambda: system.document("inventory", "stock/KAYAK-SEA") == before, within=20, what="the goods are free")


def test_a_bank_that_dies_in_the_middle_is_asked_again(system: Installation, customer: Customer, bank: Bank) -> None:
    bank.trouble("slow", delay=60)
    order = customer.accepted(SKU)
    until(system, order, "asked")
    system.kill("bank")
    assert customer.ended(order)["status"] == "confirmed"
    until(system, order, "captured")
    assert bank.movements(order) == TAKEN


def test_payments_that_dies_while_it_asks_asks_again_and_pays_once(
    system: Installation, customer: Customer, bank: Bank
) -> None:
    bank.trouble("slow", delay=2)
    order = customer.accepted(SKU)
    until(system, order, "asked")
    for process in ("payments.app", "payments.daprd"):
        eventually(system.kill(process), within=30, what=f"{process} is started again")
    bank.trouble("none")
    assert customer.ended(order)["status"] == "confirmed"
    until(system, order, "captured")
    assert bank.movements(order) == TAKEN


def test_an_order_cancelled_while_the_bank_hangs_is_void(system: Installation, customer: Customer, bank: Bank) -> None:
    bank.trouble("slow", delay=2.5)
    order = customer.accepted(SKU)
    until(system, order, "asked")
    heard = customer.ask("POST", f"/api/v1/orders/{order}/cancel")
    assert heard.status in {200, 202}, heard.content
    bank.trouble("none")
    until(system, order, "voided")
    assert customer.shown(order)["status"] == "cancelled"
    assert bank.book()[order]["status"] == "voided"
    assert bank.movements(order) in ([], ["held", "released"])


def test_orders_wait_for_a_bank_that_is_down(system: Installation, customer: Customer, bank: Bank) -> None:
    assert "cut off" in system.outrigger("faults", "bank", "--mode", "down").stdout
    order = customer.accepted(SKU)
    until(system, order, "asked")
    log = Path(system.state_of("payments.app").log)
    eventually(lambda: "a reaction failed" in log.read_text(), within=20, what="the bank was asked")
    assert customer.shown(order)["status"] == "reserved"
    bank.trouble("none")
    assert customer.ended(order)["status"] == "confirmed"
    until(system, order, "captured")


def test_orders_do_not_wait_longer_than_their_deadline(system: Installation, customer: Customer, bank: Bank) -> None:
    bank.trouble("down")
    order = customer.accepted(SKU)
    assert customer.ended(order)["reason"] == "not settled in time: still reserved at the deadline"
    until(system, order, "voiding")
    bank.trouble("none")
    until(system, order, "voided", within=60)
    assert bank.book()[order]["status"] == "voided"


def test_a_bank_that_is_killed_again_and_again_keeps_one_truth(
    system: Installation, customer: Customer, bank: Bank
) -> None:
    bank.trouble("fail", rate=0.2)
    with Crowd(customer, [SKU], 40) as crowd:
        for _ in range(3):
            back = system.kill("bank")
            eventually(back, within=30, what="the bank is started again")
    ends = {order: customer.ended(order, within=60)["status"] for order in crowd.accepted.values()}
    for order, end in ends.items():
        wanted = {"captured"} if end == "confirmed" else {"voided", "declined", "barred"}
        eventually(lambda o=order, w=wanted: status(system, o) in w, within=90, what=f"the payment of {order} ends")
    moved = {order: bank.movements(order) for order in ends}
    assert {order for order, movements in moved.items() if "taken" in movements} == {
        order for order, end in ends.items() if end == "confirmed"
    }
    assert all(movements in ([], TAKEN, ["held", "released"]) for movements in moved.values()), moved
