"""Inventory's part in the life of an order: which of orders' events asks for what.

- OrderCreated: reserve, or reject
- OrderConfirmed: commit
- OrderCancelled: release, also when it comes first: then the late OrderCreated reserves nothing
- nothing for long: orders is asked; what it does not know, or has cancelled, is released
"""

from collections.abc import Sequence

from chassis.envelope import Command, Event
from chassis.rules import Context, Documents, Outside, Ref
from contracts.inventory import StockReserved
from contracts.orders import OrderCancelled, OrderConfirmed, OrderCreated
from contracts.values import Line, OrderId
from inventory.domain import demand, rules, stock
from inventory.reservations import ReservationOverdue, commit, overdue, release, reservation, reserve

ASK_ATTEMPTS = 1000  # more than an hour: orders may be down for long, and the goods are safe meanwhile


class CheckReservation(Command):
    """The deadline of a reservation has come."""

    order_id: OrderId


class SettleReservation(Command):
    """Orders has said how the order stands (`unknown` if it has no such order)."""

    order_id: OrderId
    items: tuple[Line, ...]
    order_status: str


def _concerned(message: OrderCreated | OrderConfirmed | OrderCancelled | SettleReservation) -> tuple[Ref, ...]:
    return (reservation(message.order_id), *map(stock, demand(message.items)))


@rules.on(OrderCreated, loads=_concerned)
def on_created(docs: Documents, event: OrderCreated, context: Context) -> Sequence[Event]:
    """Set the goods aside."""
    return reserve(docs, event.order_id, event.items, context)


@rules.on(OrderConfirmed, loads=_concerned)
def on_confirmed(docs: Documents, event: OrderConfirmed, context: Context) -> Sequence[Event]:
    """Let the goods go."""
    return commit(docs, event.order_id, context)


@rules.on(OrderCancelled, loads=_concerned)
def on_cancelled(docs: Documents, event: OrderCancelled, context: Context) -> Sequence[Event]:
    """Put the goods back."""
    return release(docs, event.order_id, context)


@rules.command(CheckReservation, loads=lambda c: (reservation(c.order_id),))
def check(docs: Documents, command: CheckReservation, context: Context) -> Sequence[Event]:
    """See whether the reservation is still open: most were settled long ago."""
    return overdue(docs, command.order_id, context)


@rules.command(SettleReservation, loads=_concerned)
def settle(docs: Documents, command: SettleReservation, context: Context) -> Sequence[Event]:
    """Do what the order's status asks for; an open order settles itself by its own deadline."""
    step = {"unknown": release, "cancelled": release, "confirmed": commit}.get(command.order_status)
    return step(docs, command.order_id, context) if step else ()


def due(event: StockReserved, _outside: Outside) -> Command:
    """React to a reservation whose time is over."""
    return CheckReservation(order_id=event.order_id)


async def ask_orders(event: ReservationOverdue, outside: Outside) -> Command:
    """Learn from orders how the order stands."""
    answer = await outside.invoke("orders", "order-status", {"orderId": event.order_id})
    return SettleReservation(order_id=event.order_id, items=event.items, order_status=answer["status"])


def watch_reservations(*, after: float) -> None:
    """Register the deadline of reservations, in seconds."""
    rules.reactor("reservation-deadline", StockReserved, after=after)(due)
    rules.reactor("ask-orders", ReservationOverdue, attempts=ASK_ATTEMPTS)(ask_orders)
