"""What follows what in the life of an order."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from chassis.envelope import Event
from contracts.inventory import StockRejected, StockReserved
from contracts.money import Money
from contracts.orders import OrderCancelled, OrderConfirmed, OrderCreated, OrderLine
from contracts.values import Line
from orders.domain import OrderReserved, Status, order
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
SET_ASIDE = OrderReserved(order_id="o-1", user_id="u-1")
CONFIRMED = OrderConfirmed(order_id="o-1", user_id="u-1", items=ITEMS, total=Money(900))
CANCELLED = OrderCancelled(order_id="o-1", user_id="u-1", items=ITEMS, reason="not enough stock of TEA")
RESERVED = StockReserved(order_id="o-1", items=ITEMS)
REJECTED = StockRejected(order_id="o-1", items=ITEMS, reason="not enough stock of TEA")
EXPIRE = ExpireOrder(order_id="o-1")


def test_a_reserved_order_is_confirmed() -> None:
    outcome = given(rules, CREATED).when(RESERVED).then(SET_ASIDE, CONFIRMED)
    outcome.and_state(order("o-1"), status=Status.CONFIRMED)


def test_a_rejected_order_is_cancelled_with_the_reason() -> None:
    outcome = given(rules, CREATED).when(REJECTED).then(CANCELLED)
    outcome.and_state(order("o-1"), status=Status.CANCELLED, reason="not enough stock of TEA")


def test_the_deadline_cancels_what_is_still_open() -> None:
    reason = "not settled in time: still pending at the deadline"
    given(rules, CREATED).when(EXPIRE).then(CANCELLED.model_copy(update={"reason": reason}))


def test_the_timeline_says_when() -> None:
    outcome = given(rules, CREATED).when(RESERVED, now=NOW + 1.5)
    timeline = outcome.world.state(order("o-1")).timeline
    assert [(moment.status, moment.at.timestamp() - NOW) for moment in timeline] == [
        ("pending", 0), ("reserved", 1.5), ("confirmed", 1.5),
    ]  # fmt: skip


@pytest.mark.parametrize("ended", [(SET_ASIDE, CONFIRMED), (CANCELLED,)], ids=["confirmed", "cancelled"])
@pytest.mark.parametrize("late", [RESERVED, REJECTED, EXPIRE], ids=lambda message: type(message).__name__)
def test_an_end_is_final(ended: Sequence[Event], late: Event) -> None:
    given(rules, CREATED, *ended).when(late).then_nothing()


@pytest.mark.parametrize("message", [RESERVED, REJECTED, EXPIRE], ids=lambda message: type(message).__name__)
def test_an_order_that_nobody_placed_here_stays_unknown(message: Event) -> None:
    assert given(rules).when(message).then_nothing().world.state(order("o-1")) is None


def test_the_deadline_follows_every_created_order() -> None:
    assert due(CREATED, _outside=None) == EXPIRE  # type: ignore[arg-type] - it needs nothing of the world


def test_every_step_says_who_undoes_it() -> None:
    assert all(step.undone_by for step in SAGA)
    assert {step.follows.event_type for step in SAGA} == rules.events.keys() - {"ProductAdded", "PriceChanged"}
