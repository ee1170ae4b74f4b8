"""The payment of one order: asked of the bank, then captured, or given back.

A payment is asked, authorized, capturing, captured; or declined; or, before anything is captured, voiding and voided.
One whose order was cancelled before the money was asked for is barred: it is never asked. Every function answers with
facts and may be called at any time and in any order. What the bank is still to do stands in a private fact
(`PaymentAsked`, `VoidRequested`, `CaptureRequested`) that a reactor follows until it is done.
"""

from collections.abc import Sequence
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from chassis.envelope import Event
from chassis.rules import Context, Documents, Rules
from contracts.money import ZERO, Money
from contracts.payments import PaymentAuthorized, PaymentCaptured, PaymentDeclined, PaymentEvent, PaymentVoided

rules = Rules()


class Status(StrEnum):
    """Where a payment stands."""

    ASKED = "asked"
    AUTHORIZED = "authorized"
    DECLINED = "declined"
    VOIDING = "voiding"
    VOIDED = "voided"
    CAPTURING = "capturing"
    CAPTURED = "captured"
    BARRED = "barred"


class PaymentAsked(PaymentEvent):
    """The bank is to hold the amount."""

    published = False
    amount: Money


class VoidRequested(PaymentEvent):
    """The bank is to let go what it holds or is about to hold, and to hold nothing later."""

    published = False


class CaptureRequested(PaymentEvent):
    """The bank is to take what it holds."""

    published = False
    amount: Money


class PaymentOverdue(PaymentEvent):
    """Money is held, and nobody has said what becomes of it."""

    published = False


class PaymentBarred(PaymentEvent):
    """The order ended before its money was asked for."""

    published = False


class PaymentState(BaseModel):
    """The payment of one order."""

    model_config = ConfigDict(frozen=True)

    order_id: str
    status: Status
    amount: Money = ZERO
    reason: str | None = None


payment = rules.document("payment", PaymentState)

_BECOMES: dict[type[Event], Status] = {
    PaymentAsked: Status.ASKED,
    PaymentAuthorized: Status.AUTHORIZED,
    PaymentOverdue: Status.AUTHORIZED,
    PaymentDeclined: Status.DECLINED,
    VoidRequested: Status.VOIDING,
    PaymentVoided: Status.VOIDED,
    CaptureRequested: Status.CAPTURING,
    PaymentCaptured: Status.CAPTURED,
    PaymentBarred: Status.BARRED,
}


@payment.evolve
def evolve(state: PaymentState | None, event: PaymentEvent) -> PaymentState:
    """Fold one fact into a payment."""
    status = _BECOMES[type(event)]
    known = state or PaymentState(order_id=event.order_id, status=status)
    match event:
        case PaymentAsked(amount=amount):
            return known.model_copy(update={"status": status, "amount": amount})
        case PaymentDeclined(reason=reason):
            return known.model_copy(update={"status": status, "reason": reason})
        case _:
            return known.model_copy(update={"status": status})


def ask(docs: Documents, order_id: str, amount: Money, context: Context) -> Sequence[Event]:
    """Ask for the money of an order, once."""
    if docs[payment(order_id)] is not None:
        return ()
    return (PaymentAsked(order_id=order_id, amount=amount, at=context.moment),)


def authorized(docs: Documents, order_id: str, context: Context) -> Sequence[Event]:
    """The bank holds the money. If the order has ended meanwhile, its void is under way already."""
    state = _standing(docs, order_id, Status.ASKED)
    return (PaymentAuthorized(order_id=order_id, amount=state.amount, at=context.moment),) if state else ()


def declined(docs: Documents, order_id: str, reason: str, context: Context) -> Sequence[Event]:
    """The bank has refused."""
    state = _standing(docs, order_id, Status.ASKED)
    return (PaymentDeclined(order_id=order_id, reason=reason, at=context.moment),) if state else ()


def give_back(docs: Documents, order_id: str, context: Context) -> Sequence[Event]:
    """See to it that nothing is held for an order that was cancelled, now or later."""
    if docs[payment(order_id)] is None:
        return (PaymentBarred(order_id=order_id, at=context.moment),)
    state = _standing(docs, order_id, Status.ASKED, Status.AUTHORIZED)
    return (VoidRequested(order_id=order_id, at=context.moment),) if state else ()


def voided(docs: Documents, order_id: str, context: Context) -> Sequence[Event]:
    """The bank has let go."""
    state = _standing(docs, order_id, Status.VOIDING)
    return (PaymentVoided(order_id=order_id, at=context.moment),) if state else ()


def capture(docs: Documents, order_id: str, context: Context) -> Sequence[Event]:
    """Take what is held for an order that was confirmed."""
    state = _standing(docs, order_id, Status.AUTHORIZED)
    return (CaptureRequested(order_id=order_id, amount=state.amount, at=context.moment),) if state else ()


def captured(docs: Documents, order_id: str, context: Context) -> Sequence[Event]:
    """The bank has taken it."""
    state = _standing(docs, order_id, Status.CAPTURING)
    return (PaymentCaptured(order_id=order_id, amount=state.amount, at=context.moment),) if state else ()


def overdue(docs: Documents, order_id: str, context: Context) -> Sequence[Event]:
    """Note that money is held for too long."""
    state = _standing(docs, order_id, Status.AUTHORIZED)
    return (PaymentOverdue(order_id=order_id, at=context.moment),) if state else ()


def _standing(docs: Documents, order_id: str, *at: Status) -> PaymentState | None:
    """Return the payment if it stands there; anywhere else, what is asked for is a repeat or comes too late."""
    state = docs[payment(order_id)]
    return state if state and state.status in at else None
