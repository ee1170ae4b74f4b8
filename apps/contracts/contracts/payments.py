"""What the payments service says: how the money of each order stands."""

from datetime import datetime
from typing import ClassVar

from chassis.envelope import Event
from contracts.money import Money
from contracts.values import OrderId, Reason

TOPIC = "payments"


class PaymentEvent(Event):
    """A fact about the payment of one order. `at` is when it was decided; events published by hand may lack it."""

    topic: ClassVar[str] = TOPIC
    aggregate: ClassVar[str] = "payment"
    key: ClassVar[str] = "order_id"

    order_id: OrderId
    at: datetime | None = None


class PaymentAuthorized(PaymentEvent):
    """The bank keeps the amount for us."""

    amount: Money


class PaymentDeclined(PaymentEvent):
    """The bank has refused; nothing is to be undone."""

    reason: Reason


class PaymentVoided(PaymentEvent):
    """Whatever the bank kept for this order, it has let go, and will never keep anything for it again."""


class PaymentCaptured(PaymentEvent):
    """The amount was taken, once and for good."""

    amount: Money
