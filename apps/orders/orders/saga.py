"""An order's way through the other services: which step follows which event, and who undoes it.

Every step is one row of `SAGA`. A row applies only while the order stands where the row says; anywhere else the event
is a repeat or comes too late, and nothing follows from it. There is one compensation for all of them: `OrderCancelled`,
on which each service that did something for the order undoes its own part (`undone_by`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from chassis.envelope import Command, Event
from chassis.problems import Conflict, NotFound
from chassis.rules import Context, Documents, Outside
from contracts.inventory import StockRejected, StockReserved
from contracts.orders import CancelRequest, Cause, OrderCancelled, OrderConfirmed, OrderCreated, PaymentRequested
from contracts.payments import PaymentAuthorized, PaymentDeclined
from contracts.values import Line, OrderId
from orders.domain import OrderState, Status, order, rules


class ExpireOrder(Command):
    """The deadline of an order has come."""

    order_id: OrderId


@dataclass(frozen=True, slots=True)
class Step:
    """`follows` happened elsewhere while the order was `at`: then the facts of `then` hold."""

    follows: type[Event]
    at: frozenset[Status]
    then: Callable[[OrderState, Any, Context], Sequence[Event]]
    undone_by: str


def ask_for_money(state: OrderState, _event: StockReserved, context: Context) -> Sequence[Event]:
    """The goods are set aside."""
    return (PaymentRequested(order_id=state.order_id, user_id=state.user_id, amount=state.total, at=context.moment),)


def confirm(state: OrderState, _event: PaymentAuthorized, context: Context) -> Sequence[Event]:
    """All that the order needs is there."""
    return (
        OrderConfirmed(
            order_id=state.order_id, user_id=state.user_id, items=_lines(state), total=state.total, at=context.moment
        ),
    )


def give_up(state: OrderState, event: StockRejected | PaymentDeclined, context: Context) -> Sequence[Event]:
    """Inventory cannot meet the order, or the bank does not pay it."""
    cause = Cause.STOCK if isinstance(event, StockRejected) else Cause.PAYMENT
    return (_cancelled(state, cause, event.reason, context),)


SAGA = (
    Step(StockReserved, frozenset({Status.PENDING}), ask_for_money, undone_by="inventory: StockReleased"),
    Step(StockRejected, frozenset({Status.PENDING}), give_up, undone_by="nobody: nothing was set aside"),
    Step(PaymentAuthorized, frozenset({Status.RESERVED}), confirm, undone_by="payments: PaymentVoided"),
    Step(PaymentDeclined, frozenset({Status.RESERVED}), give_up, undone_by="nobody: nothing was paid"),
)


def advance(step: Step, docs: Documents, event: Any, context: Context) -> Sequence[Event]:
    """Take a step of an order that stands where the step begins."""
    state = docs[order(event.order_id)]
    return step.then(state, event, context) if state and state.status in step.at else ()


for _step in SAGA:
    rules.on(_step.follows, loads=lambda event: (order(event.order_id),))(partial(advance, _step))


@rules.command(ExpireOrder, loads=lambda c: (order(c.order_id),))
def expire(docs: Documents, command: ExpireOrder, context: Context) -> Sequence[Event]:
    """Cancel an order that is still open."""
    state = docs[order(command.order_id)]
    if state is None or not state.status.open:
        return ()
    reason = f"not settled in time: still {state.status} at the deadline"
    return (_cancelled(state, Cause.DEADLINE, reason, context),)


@rules.command(CancelRequest, loads=lambda c: (order(c.order_id),))
def cancel(docs: Documents, command: CancelRequest, context: Context) -> Sequence[Event]:
    """Do what the customer wishes while the order is open; wishing it again changes nothing."""
    state = docs[order(command.order_id)]
    if state is None:
        raise NotFound(f"there is no order {command.order_id}", field="orderId")
    if state.status is Status.CONFIRMED:
        raise Conflict(f"order {command.order_id} is confirmed and cannot be cancelled any more")
    return (_cancelled(state, Cause.CUSTOMER, "cancelled by the customer", context),) if state.status.open else ()


def due(event: OrderCreated, _outside: Outside) -> Command:
    """React to an order whose time is over."""
    return ExpireOrder(order_id=event.order_id)


def watch_orders(*, after: float) -> None:
    """Register the deadline of orders, in seconds."""
    rules.reactor("order-deadline", OrderCreated, after=after)(due)


def _cancelled(state: OrderState, cause: Cause, reason: str, context: Context) -> OrderCancelled:
    return OrderCancelled(
        order_id=state.order_id, user_id=state.user_id, items=_lines(state), cause=cause, reason=reason,
        at=context.moment,
    )  # fmt: skip


def _lines(state: OrderState) -> tuple[Line, ...]:
    return tuple(Line(sku=line.sku, quantity=line.quantity) for line in state.items)
