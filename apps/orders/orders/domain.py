"""One order: how it is placed, at which prices, and how it ends.

An order is pending, then reserved, then confirmed; while it is open it may be cancelled instead. Both ends are final:
whatever arrives later changes nothing.
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from chassis.envelope import Command, Event
from chassis.problems import Conflict, Invalid
from chassis.rules import Context, Documents, Rules
from contracts.inventory import Price, PriceChanged, ProductAdded
from contracts.money import ZERO, Money
from contracts.orders import OrderCancelled, OrderConfirmed, OrderCreated, OrderEvent, OrderLine, Wanted
from contracts.values import OrderId, UserId

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


class PlaceOrder(Command):
    """Accept an order. `quotes` are prices just asked of inventory, for products whose copy has not arrived here."""

    order_id: OrderId
    user_id: UserId
    items: tuple[Wanted, ...]
    quotes: tuple[Price, ...] = ()


class OrderReserved(OrderEvent):
    """The goods are set aside; a step that concerns nobody else."""

    published = False


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


class PriceState(BaseModel):
    """The local copy of what a product costs."""

    model_config = ConfigDict(frozen=True)

    price: Money


order = rules.document("order", OrderState)
price = rules.copy("price", PriceState, ProductAdded, PriceChanged)


@price.evolve
def copy_price(_state: PriceState | None, event: ProductAdded | PriceChanged) -> PriceState:
    """Both facts carry the price; the newest wins."""
    return PriceState(price=event.price)


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
        case OrderReserved():
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


@rules.command(
    PlaceOrder, loads=lambda c: (order(c.order_id),), reads=lambda c: tuple(price(item.sku) for item in c.items)
)
def place(docs: Documents, command: PlaceOrder, context: Context) -> Sequence[Event]:
    """Accept an order at the present prices; refuse what has no price, naming the first such field."""
    if docs[order(command.order_id)] is not None:
        raise Conflict(f"there is an order {command.order_id} already")
    prices = _prices(docs, command)
    if unknown := [item.sku for item in command.items if item.sku not in prices]:
        raise unknown_products(command.items, unknown)
    lines = [OrderLine(sku=i.sku, quantity=i.quantity, unit_price=prices[i.sku]) for i in command.items]
    created = OrderCreated(
        order_id=command.order_id, user_id=command.user_id, items=tuple(lines), total=total(lines), at=context.moment
    )
    return (created,)


def _prices(docs: Documents, command: PlaceOrder) -> dict[str, Money]:
    prices = {quote.sku: quote.price for quote in command.quotes}
    for item in command.items:
        if (copy := docs[price(item.sku)]) is not None:
            prices[item.sku] = copy.price
    return prices


def unknown_products(items: Sequence[Wanted], unknown: Sequence[str]) -> Invalid:
    """Name the field of the first product that nobody offers."""
    at = next(index for index, item in enumerate(items) if item.sku in unknown)
    return Invalid(
        f"there is no product {items[at].sku}; GET /api/v1/products lists what there is",
        field=f"items.{at}.sku", unknown=list(unknown),
    )  # fmt: skip


def total(lines: Sequence[OrderLine]) -> Money:
    """Add up what an order costs; refuse a sum that nobody could write down."""
    try:
        return sum((line.unit_price * line.quantity for line in lines), ZERO)
    except ValueError as error:
        raise Invalid(f"the order costs too much: {error}", field="items") from None
