"""One order: what stands in it, and what each fact makes of it.

An order is pending, then reserved (its goods are set aside and its money is asked for), then confirmed; while it is
open it may be cancelled instead. Both ends are final: whatever arrives later changes nothing.
"""

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from chassis.rules import Rules
from contracts.money import Money
from contracts.orders import OrderCancelled, OrderConfirmed, OrderCreated, OrderEvent, OrderLine, PaymentRequested

rules = Rules()


class Status(StrEnum):
    """Where an order stands."""

    PENDING = "pending"
    RESERVED = "reserved"
    CONFIRMED = "confirmed"
    CANCELLED = "cancelled"

    @property
    def open(self) -> bool:
        """Tell whether anything can still change."""
        return self in {Status.PENDING, Status.RESERVED}


class Moment(BaseModel):
    """A step of the order's life."""

    model_config = ConfigDict(frozen=True)

    status: Status
    at: datetime | None


class OrderState(BaseModel):
    """One order."""

    model_config = ConfigDict(frozen=True)

    order_id: str
    user_id: str
    items: tuple[OrderLine, ...]
    total: Money
    status: Status
    reason: str | None = None
    timeline: tuple[Moment, ...]


order = rules.document("order", OrderState)


@order.evolve
def evolve(state: OrderState | None, event: OrderEvent) -> OrderState:
    """Fold one fact into an order."""
    if isinstance(event, OrderCreated):
        return OrderState(
            order_id=event.order_id, user_id=event.user_id, items=event.items, total=event.total,
            status=Status.PENDING, timeline=(Moment(status=Status.PENDING, at=event.at),),
        )  # fmt: skip
    if state is None:
        raise ValueError(f"{event.subject} was never created: {event.event_type}")
    match event:
        case PaymentRequested():
            return _moved(state, Status.RESERVED, event)
        case OrderConfirmed():
            return _moved(state, Status.CONFIRMED, event)
        case OrderCancelled(reason=reason):
            return _moved(state, Status.CANCELLED, event, reason)
        case _:
            raise TypeError(f"an order has no fact {event.event_type}")


def _moved(state: OrderState, status: Status, event: OrderEvent, reason: str | None = None) -> OrderState:
    timeline = (*state.timeline, Moment(status=status, at=event.at))
    return state.model_copy(update={"status": status, "reason": reason, "timeline": timeline})
