"""What follows what in the life of an order."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from chassis.envelope import Command, Event
from chassis.problems import Conflict, NotFound
from contracts.inventory import StockRejected, StockReserved
from contracts.money import Money
from contracts.orders import (
    CancelRequest,
    Cause,
    OrderCancelled,
    OrderConfirmed,
    OrderCreated,
    OrderLine,
    PaymentRequested,
)
from contracts.payments import PaymentAuthorized, PaymentDeclined
from contracts.values import Line
from orders.domain import Status, order
from orders.saga import SAGA, ExpireOrder, due, rules
from support.given import NOW, given

ITEMS = (Line(sku="TEA", quantity=2),)
CREATED = OrderCreated(
    order_id="o-1",
    user_id="u-1",
    items=(OrderLine(sku="TEA", quantity=2, unit_price=Money(450)),),
    total=Money(900),
    at=datetime.fromtimestamp(NOW, UTC),
)
ASKED = PaymentRequested(order_id="o-1", user_id="u-1", amount=Money(900))
CONFIRMED = OrderConfirmed(order_id="o-1", user_id="u-1", items=ITEMS, total=Money(900))
CANCELLED = OrderCancelled(
    order_id="o-1", user_id="u-1", items=ITEMS, cause=Cause.STOCK, reason="not enough stock of TEA"
)
RESERVED = StockReserved(order_id="o-1", items=ITEMS)
REJECTED = StockRejected(order_id="o-1", items=ITEMS, reason="not enough stock of TEA")
PAID = PaymentAuthorized(order_id="o-1", amount=Money(900))
DECLINED = PaymentDeclined(order_id="o-1", reason="the account is empty")
CANCEL = CancelRequest(order_id="o-1")
EXPIRE = ExpireOrder(order_id="o-1")


def test_money_is_asked_for_once_the_goods_are_set_aside() -> None:
    outcome = given(rules, CREATED).when(RESERVED).then(ASKED)
    outcome.and_state(order("o-1"), status=Status.RESERVED)


def test_an_order_that_is_paid_is_confirmed() -> None:
    outcome = given(rules, CREATED, ASKED).when(PAID).then(CONFIRMED)
    outcome.and_state(order("o-1"), status=Status.CONFIRMED)


def test_an_order_that_the_bank_declines_is_cancelled_with_the_reason() -> None:
    cancelled = CANCELLED.model_copy(update={"cause": Cause.PAYMENT, "reason": "the account is empty"})
    given(rules, CREATED, ASKED).when(DECLINED).then(cancelled)


@pytest.mark.parametrize("early", [PAID, DECLINED])
def test_what_the_bank_says_unasked_changes_nothing(early: Event) -> None:
    given(rules, CREATED).when(early).then_nothing()


@pytest.mark.parametrize("until", [(), (ASKED,)], ids=["pending", "reserved"])
def test_a_customer_cancels_an_open_order(until: Sequence[Event]) -> None:
    cancelled = CANCELLED.model_copy(update={"cause": Cause.CUSTOMER, "reason": "cancelled by the customer"})
    given(rules, CREATED, *until).when(CANCEL).then(cancelled)


def test_a_cancelled_order_may_be_cancelled_again() -> None:
    given(rules, CREATED, CANCELLED).when(CANCEL).then_nothing()


def test_a_confirmed_order_stays() -> None:
    given(rules, CREATED, ASKED, CONFIRMED).when(CANCEL).then_refused(Conflict)


def test_an_unknown_order_cannot_be_cancelled() -> None:
    given(rules).when(CANCEL).then_refused(NotFound, field="orderId")


def test_a_rejected_order_is_cancelled_with_the_reason() -> None:
    outcome = given(rules, CREATED).when(REJECTED).then(CANCELLED)
    outcome.and_state(order("o-1"), status=Status.CANCELLED, reason="not enough stock of TEA")


def test_the_deadline_cancels_what_is_still_open() -> None:
    reason = "not settled in time: still pending at the deadline"
    given(rules, CREATED).when(EXPIRE).then(CANCELLED.model_copy(update={"cause": Cause.DEADLINE, "reason": reason}))


def test_the_timeline_says_when() -> None:
    service = given(rules, CREATED)
    service.when(RESERVED, now=NOW + 1.5)
    timeline = service.when(PAID, now=NOW + 2.5).world.state(order("o-1")).timeline
    assert [(moment.status, moment.at.timestamp() - NOW) for moment in timeline] == [
        ("pending", 0), ("reserved", 1.5), ("confirmed", 2.5),
    ]  # fmt: skip


ENDS = {"confirmed": (ASKED, CONFIRMED), "cancelled": (CANCELLED,), "cancelled late": (ASKED, CANCELLED)}
NEWS = [RESERVED, REJECTED, PAID, DECLINED, EXPIRE]


@pytest.mark.parametrize("ended", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("late", NEWS, ids=lambda message: type(message).__name__)
def test_an_end_is_final(ended: Sequence[Event], late: Event | Command) -> None:
    given(rules, CREATED, *ended).when(late).then_nothing()


@pytest.mark.parametrize("message", NEWS, ids=lambda message: type(message).__name__)
def test_an_order_that_nobody_placed_here_stays_unknown(message: Event | Command) -> None:
    assert given(rules).when(message).then_nothing().world.state(order("o-1")) is None


def test_the_deadline_follows_every_created_order() -> None:
    assert due(CREATED, _outside=None) == EXPIRE  # type: ignore[arg-type] - it needs nothing of the world


def test_every_step_says_who_undoes_it() -> None:
    assert all(step.undone_by for step in SAGA)
    copied = {name for name, handler in rules.events.items() if handler.copy}
    assert {step.follows.event_type for step in SAGA} == rules.events.keys() - copied
