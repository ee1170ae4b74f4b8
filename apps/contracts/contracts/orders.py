"""What the orders service says: its events, and the request that it takes."""

from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, Self

from pydantic import Field, GetJsonSchemaHandler, field_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from chassis.envelope import Command, Event, Wire
from contracts.money import Money
from contracts.values import MAX_LINES, Line, OrderId, Quantity, Reason, Sku, UserId

TOPIC = "orders"


class Cause(StrEnum):
    """What ended an order early. The list may grow: a reader takes a cause that it does not know for `other`."""

    CUSTOMER = "customer"
    DEADLINE = "deadline"
    STOCK = "stock"
    PAYMENT = "payment"
    OTHER = "other"

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        return cls("other") if isinstance(value, str) else None

    @classmethod
    def __get_pydantic_json_schema__(cls, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "x-extensible-enum": list(cls), "description": cls.__doc__}


class OrderLine(Line):
    """A line with the price that was agreed for one piece."""

    unit_price: Money


class OrderEvent(Event):
    """A fact about one order. `at` is when it was decided; events published by hand may lack it."""

    topic: ClassVar[str] = TOPIC
    aggregate: ClassVar[str] = "order"
    key: ClassVar[str] = "order_id"

    order_id: OrderId
    user_id: UserId
    at: datetime | None = None


class OrderCreated(OrderEvent):
    """An order was accepted: its prices and total stand, everything else is still to come."""

    items: tuple[OrderLine, ...] = Field(max_length=MAX_LINES)
    total: Money


class PaymentRequested(OrderEvent):
    """The goods are set aside: now the money is asked for."""

    amount: Money


class OrderConfirmed(OrderEvent):
    """The order is final; its goods are sold."""

    items: tuple[Line, ...] = Field(default=(), max_length=MAX_LINES)
    total: Money


class OrderCancelled1(OrderEvent):
    """Version 1.0: what ended the order stood in the words of `reason` alone."""

    event_type: ClassVar[str] = "OrderCancelled"

    items: tuple[Line, ...] = Field(default=(), max_length=MAX_LINES)
    reason: Reason

    def upcast(self) -> "OrderCancelled":
        """Take the cause from the words that were written; a bank's own words are nobody's to guess at."""
        cause = next((cause for words, cause in _WORDS.items() if self.reason.startswith(words)), Cause.OTHER)
        told: dict[str, Any] = {name: getattr(self, name) for name in type(self).model_fields}
        return OrderCancelled(**told, cause=cause)


_WORDS = {
    "cancelled by the customer": Cause.CUSTOMER,
    "not settled in time": Cause.DEADLINE,
    "not enough stock of": Cause.STOCK,
    "there is no product": Cause.STOCK,
}


class OrderCancelled(OrderEvent):
    """The order is over; what was set aside for it is to be released. `cause` is for programs, `reason` for people."""

    version: ClassVar[str] = "2.0"
    older: ClassVar[tuple[type[Event], ...]] = (OrderCancelled1,)

    items: tuple[Line, ...] = Field(default=(), max_length=MAX_LINES)
    cause: Cause
    reason: Reason


class Wanted(Command):
    """One line of an order as the customer writes it."""

    sku: Sku
    quantity: Quantity


class OrderRequest(Command):
    """What a customer sends: who, and 1 to 50 different products. Unknown fields are refused."""

    user_id: UserId
    items: tuple[Wanted, ...] = Field(min_length=1, max_length=MAX_LINES)

    @field_validator("items")
    @classmethod
    def _each_product_once(cls, items: tuple[Wanted, ...]) -> tuple[Wanted, ...]:
        skus = [item.sku for item in items]
        if twice := sorted({sku for sku in skus if skus.count(sku) > 1}):
            raise ValueError(f"a product appears once in an order, with its quantity; repeated: {', '.join(twice)}")
        return items


class OrderMoment(Wire):
    """A step of an order's life, for its timeline."""

    status: str
    at: datetime | None = None


class OrderAnswer(Wire):
    """An order as it is shown."""

    order_id: OrderId
    user_id: UserId
    status: str
    reason: str | None = None
    items: tuple[OrderLine, ...]
    total: Money
    timeline: tuple[OrderMoment, ...]


class OrderAccepted(Wire):
    """The answer to an accepted order: it is stored and will end confirmed or cancelled."""

    order_id: OrderId
    status: str


class CancelRequest(Command):
    """The customer's wish to cancel an order that is still open."""

    order_id: OrderId


class OrderBrief(Wire):
    """An order as one line of a list, and when each of its steps happened."""

    order_id: OrderId
    user_id: UserId
    status: str
    reason: str | None = None
    total: Money
    placed_at: datetime | None = None
    timeline: tuple[OrderMoment, ...] = ()


class OrdersAnswer(Wire):
    """A user's orders, newest first; `next`, given back as `before`, continues with the older ones."""

    orders: tuple[OrderBrief, ...]
    next: int | None = None


class BriefsRequest(Command):
    """Ask how some orders stand."""

    order_ids: tuple[OrderId, ...] = Field(min_length=1, max_length=100)


class OrderStatusRequest(Command):
    """Ask how an order stands."""

    order_id: OrderId


class OrderStatus(Wire):
    """How an order stands; `unknown` where there is no such order."""

    order_id: OrderId
    status: str
