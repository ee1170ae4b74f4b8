"""How an order is accepted: for a customer who may order, at the present prices.

Who may order belongs to users, what things cost to inventory. Both are kept here as copies, fed by events, so that
orders are accepted while the owners are away. What no copy tells is asked of its owner, once, before it is refused;
the answer comes back in the command.
"""

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from chassis.envelope import Command, Event
from chassis.problems import Conflict, Invalid
from chassis.rules import Context, Documents, Ref
from contracts.inventory import Price, PriceChanged, ProductAdded
from contracts.money import ZERO, Money
from contracts.orders import OrderCreated, OrderLine, Wanted
from contracts.users import UserDeactivated, UserRegistered
from contracts.values import OrderId, UserId
from orders.domain import order, rules


class PlaceOrder(Command):
    """Accept an order. `quotes` and `active` are what owners just said, where copies have not arrived here."""

    order_id: OrderId
    user_id: UserId
    items: tuple[Wanted, ...]
    quotes: tuple[Price, ...] = ()
    active: bool | None = None


class PriceState(BaseModel):
    """The local copy of what a product costs."""

    model_config = ConfigDict(frozen=True)

    price: Money


class CustomerState(BaseModel):
    """The local copy of whether a user may order."""

    model_config = ConfigDict(frozen=True)

    active: bool


price = rules.copy("price", PriceState, ProductAdded, PriceChanged)
customer = rules.copy("customer", CustomerState, UserRegistered, UserDeactivated)


@price.evolve
def copy_price(_state: PriceState | None, event: ProductAdded | PriceChanged) -> PriceState:
    """Both facts carry the price; the newest wins."""
    return PriceState(price=event.price)


@customer.evolve
def copy_customer(_state: CustomerState | None, event: UserRegistered | UserDeactivated) -> CustomerState:
    """The newest fact wins."""
    return CustomerState(active=isinstance(event, UserRegistered))


def _copies(command: PlaceOrder) -> tuple[Ref, ...]:
    return (customer(command.user_id), *(price(item.sku) for item in command.items))


@rules.command(PlaceOrder, loads=lambda c: (order(c.order_id),), reads=_copies)
def place(docs: Documents, command: PlaceOrder, context: Context) -> Sequence[Event]:
    """Accept an order; refuse what nobody knows, naming the first such field."""
    if docs[order(command.order_id)] is not None:
        raise Conflict(f"there is an order {command.order_id} already")
    active, prices = _active(docs, command), _prices(docs, command)
    if active is False:
        raise Conflict(f"user {command.user_id} is deactivated and orders nothing more", field="userId")
    unknown = [item.sku for item in command.items if item.sku not in prices]
    if active is None or unknown:
        raise unknown_to_us(command, user=active is None, skus=unknown)
    lines = [OrderLine(sku=i.sku, quantity=i.quantity, unit_price=prices[i.sku]) for i in command.items]
    created = OrderCreated(
        order_id=command.order_id, user_id=command.user_id, items=tuple(lines), total=total(lines), at=context.moment
    )
    return (created,)


def _active(docs: Documents, command: PlaceOrder) -> bool | None:
    """Tell whether the customer may order; None where neither a copy nor users knows them."""
    copy = docs[customer(command.user_id)]
    return copy.active if copy else command.active


def _prices(docs: Documents, command: PlaceOrder) -> dict[str, Money]:
    prices = {quote.sku: quote.price for quote in command.quotes}
    for item in command.items:
        if (copy := docs[price(item.sku)]) is not None:
            prices[item.sku] = copy.price
    return prices


def unknown_to_us(command: PlaceOrder, *, user: bool, skus: Sequence[str]) -> Invalid:
    """Name the first field that means nothing here; `unknownUser` and `unknown` say what else there is to ask about."""
    more = {"unknownUser": command.user_id} if user else {}
    if user:
        detail, field = f"there is no user {command.user_id}; POST /api/v1/users registers one", "userId"
    else:
        at = next(index for index, item in enumerate(command.items) if item.sku in skus)
        detail = f"there is no product {command.items[at].sku}; GET /api/v1/products lists what there is"
        field = f"items.{at}.sku"
    return Invalid(detail, field=field, unknown=list(skus), **more)


def total(lines: Sequence[OrderLine]) -> Money:
    """Add up what an order costs; refuse a sum that nobody could write down."""
    try:
        return sum((line.unit_price * line.quantity for line in lines), ZERO)
    except ValueError as error:
        raise Invalid(f"the order costs too much: {error}", field="items") from None
