"""What the inventory service says: its events about products and reservations, what it takes, and what it answers."""

from datetime import datetime
from typing import Annotated, ClassVar

from pydantic import Field

from chassis.envelope import Command, Event, Wire
from contracts.money import Money
from contracts.values import MAX_LINES, Line, Name, OrderId, Reason, Sku

TOPIC = "inventory"
MAX_STOCK = 10**12

Stock = Annotated[int, Field(ge=0, le=MAX_STOCK)]
Restocking = Annotated[int, Field(strict=True, ge=1, le=MAX_STOCK)]


class ProductEvent(Event):
    """A fact about one product. `at` is when it was decided; events published by hand may lack it."""

    topic: ClassVar[str] = TOPIC
    aggregate: ClassVar[str] = "product"
    key: ClassVar[str] = "sku"

    sku: Sku
    at: datetime | None = None


class ProductAdded(ProductEvent):
    """A product is on offer, with its first stock."""

    name: Name
    price: Money
    stock: Stock


class PriceChanged(ProductEvent):
    """A product costs something else from now on; carries all that a copy of its price needs."""

    name: Name
    price: Money


class ReservationEvent(Event):
    """A fact about what is set aside for one order."""

    topic: ClassVar[str] = TOPIC
    aggregate: ClassVar[str] = "reservation"
    key: ClassVar[str] = "order_id"

    order_id: OrderId
    items: tuple[Line, ...] = Field(default=(), max_length=MAX_LINES)
    at: datetime | None = None


class StockReserved(ReservationEvent):
    """All items of the order are set aside."""


class StockRejected(ReservationEvent):
    """Nothing is set aside, because the order cannot be met in full."""

    reason: Reason


class StockReleased(ReservationEvent):
    """The items are on offer again; none where the cancellation came before the order, which then reserves nothing."""


class StockCommitted(ReservationEvent):
    """The items have left the stock for good."""


class AddProduct(Command):
    """Put a product on offer. Wishing the very same again changes nothing."""

    sku: Sku
    name: Name
    price: Money
    stock: Stock


class ChangePrice(Command):
    """Ask another price from now on; accepted orders keep theirs."""

    sku: Sku
    price: Money


class Restock(Command):
    """Add pieces to the stock."""

    sku: Sku
    quantity: Restocking


class ProductAccepted(Wire):
    """The answer to a wish about a product: it is stored."""

    sku: Sku


class ProductAnswer(Wire):
    """A product as it is shown."""

    sku: Sku
    name: Name
    price: Money
    available: Stock


class ProductsAnswer(Wire):
    """A page of products; `next` is the number of the next page, if there is one."""

    products: tuple[ProductAnswer, ...]
    page: int
    next: int | None = None


class PricesRequest(Command):
    """Ask for the present prices of some products."""

    skus: tuple[Sku, ...] = Field(min_length=1, max_length=MAX_LINES)


class Price(Wire):
    """What one piece costs now."""

    sku: Sku
    price: Money


class PricesAnswer(Wire):
    """The prices of those products that are known."""

    prices: tuple[Price, ...]
