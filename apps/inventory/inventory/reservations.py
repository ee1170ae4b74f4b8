"""What is set aside for one order: granted in full or not at all, then released or committed, once.

Every function answers with facts and may be asked again at any time and in any order: a reservation leaves `held` once,
and one that was released before its order arrived is never granted.
"""

from collections.abc import Sequence
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from chassis.envelope import Event
from chassis.rules import Context, Documents
from contracts.inventory import ReservationEvent, StockCommitted, StockRejected, StockReleased, StockReserved
from contracts.values import Line
from inventory.domain import OrderStockEvent, StockFreed, StockHeld, StockSold, demand, rules, shortfall


class Status(StrEnum):
    """Where a reservation stands; only `held` is not final."""

    HELD = "held"
    REJECTED = "rejected"
    RELEASED = "released"
    COMMITTED = "committed"


class ReservationState(BaseModel):
    """What is set aside for one order."""

    model_config = ConfigDict(frozen=True)

    order_id: str
    status: Status
    items: tuple[Line, ...] = ()


class ReservationOverdue(ReservationEvent):
    """Nobody has released or committed the items in time: orders is asked what became of the order."""

    published = False


reservation = rules.document("reservation", ReservationState)

_BECOMES: dict[type[Event], Status] = {
    StockReserved: Status.HELD,
    ReservationOverdue: Status.HELD,
    StockRejected: Status.REJECTED,
    StockReleased: Status.RELEASED,
    StockCommitted: Status.COMMITTED,
}


@reservation.evolve
def evolve(_state: ReservationState | None, event: ReservationEvent) -> ReservationState:
    """Fold one fact into a reservation."""
    return ReservationState(order_id=event.order_id, status=_BECOMES[type(event)], items=event.items)


def reserve(docs: Documents, order_id: str, lines: Sequence[Line], context: Context) -> Sequence[Event]:
    """Set everything aside, or reject; an order that is known here already changes nothing."""
    if docs[reservation(order_id)] is not None:
        return ()
    wanted = demand(lines)
    items = tuple(Line(sku=sku, quantity=quantity) for sku, quantity in wanted.items())
    if reason := shortfall(docs, wanted):
        return (StockRejected(order_id=order_id, items=items, reason=reason, at=context.moment),)
    granted = StockReserved(order_id=order_id, items=items, at=context.moment)
    return (granted, *_movements(StockHeld, granted))


def release(docs: Documents, order_id: str, context: Context) -> Sequence[Event]:
    """Give back what is held; for an order that is unknown, see to it that nothing will be held."""
    state = docs[reservation(order_id)]
    if state is not None and state.status is not Status.HELD:
        return ()
    released = StockReleased(order_id=order_id, items=state.items if state else (), at=context.moment)
    return (released, *_movements(StockFreed, released))


def commit(docs: Documents, order_id: str, context: Context) -> Sequence[Event]:
    """Let what is held leave the stock."""
    state = docs[reservation(order_id)]
    if state is None or state.status is not Status.HELD:
        return ()
    committed = StockCommitted(order_id=order_id, items=state.items, at=context.moment)
    return (committed, *_movements(StockSold, committed))


def overdue(docs: Documents, order_id: str, context: Context) -> Sequence[Event]:
    """Note that a reservation waited too long."""
    state = docs[reservation(order_id)]
    if state is None or state.status is not Status.HELD:
        return ()
    return (ReservationOverdue(order_id=order_id, items=state.items, at=context.moment),)


def _movements(kind: type[OrderStockEvent], cause: ReservationEvent) -> Sequence[Event]:
    """One movement for each product: a stock is folded from its own facts alone."""
    return [kind(sku=line.sku, quantity=line.quantity, order_id=cause.order_id, at=cause.at) for line in cause.items]
