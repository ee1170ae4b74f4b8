"""Payments' part in the life of an order: what follows from orders' events, and from the bank's answers.

- PaymentRequested: the bank is asked for the money
- OrderCancelled: what is held, or being asked for, is given back; also when it comes first: then nothing is asked
- OrderConfirmed: what is held is taken
- nothing for long: orders is asked; what it does not know, or has cancelled, is given back, what it confirmed is taken

The bank is asked again under the same key until it answers, however long that takes: a lost answer proves nothing. The
order's own deadline ends that for an authorization; a void and a capture are wanted until they are done.
"""

from collections.abc import Sequence

from chassis.envelope import Command, Event
from chassis.problems import Conflict, Unprocessed
from chassis.rules import Context, Documents, Outside, Ref
from contracts.orders import OrderCancelled, OrderConfirmed, PaymentRequested
from contracts.payments import PaymentAuthorized
from contracts.values import OrderId, Reason
from payments import bank, domain
from payments.domain import CaptureRequested, PaymentAsked, PaymentOverdue, Status, VoidRequested, payment, rules

FOR_EVER = 10**9  # attempts
ALARM = 20  # attempts, about a minute and a half, after which somebody should look
AT_ONCE = 16  # calls of one kind: a bank that hangs holds no more of us than that


class PaymentCommand(Command):
    """Something about the payment of one order."""

    order_id: OrderId


class TakeAuthorization(PaymentCommand):
    """The bank holds the money."""


class TakeDecline(PaymentCommand):
    """The bank has refused."""

    reason: Reason


class TakeVoid(PaymentCommand):
    """The bank has let go."""


class TakeCapture(PaymentCommand):
    """The bank has taken the money."""


class CheckPayment(PaymentCommand):
    """The deadline of an authorized payment has come."""


class SettlePayment(PaymentCommand):
    """Orders has said how the order stands (`unknown` if it has no such order)."""

    order_status: str


def _concerned(message: PaymentCommand | PaymentRequested | OrderCancelled | OrderConfirmed) -> tuple[Ref, ...]:
    return (payment(message.order_id),)


@rules.on(PaymentRequested, loads=_concerned)
def on_requested(docs: Documents, event: PaymentRequested, context: Context) -> Sequence[Event]:
    """Ask for the money."""
    return domain.ask(docs, event.order_id, event.amount, context)


@rules.on(OrderCancelled, loads=_concerned)
def on_cancelled(docs: Documents, event: OrderCancelled, context: Context) -> Sequence[Event]:
    """Give the money back."""
    return domain.give_back(docs, event.order_id, context)


@rules.on(OrderConfirmed, loads=_concerned)
def on_confirmed(docs: Documents, event: OrderConfirmed, context: Context) -> Sequence[Event]:
    """Take the money."""
    return domain.capture(docs, event.order_id, context)


@rules.command(TakeAuthorization, loads=_concerned)
def take_authorization(docs: Documents, command: TakeAuthorization, context: Context) -> Sequence[Event]:
    """Note that the money is held."""
    return domain.authorized(docs, command.order_id, context)


@rules.command(TakeDecline, loads=_concerned)
def take_decline(docs: Documents, command: TakeDecline, context: Context) -> Sequence[Event]:
    """Note the refusal."""
    return domain.declined(docs, command.order_id, command.reason, context)


@rules.command(TakeVoid, loads=_concerned)
def take_void(docs: Documents, command: TakeVoid, context: Context) -> Sequence[Event]:
    """Note that nothing is held."""
    return domain.voided(docs, command.order_id, context)


@rules.command(TakeCapture, loads=_concerned)
def take_capture(docs: Documents, command: TakeCapture, context: Context) -> Sequence[Event]:
    """Note that the money was taken."""
    return domain.captured(docs, command.order_id, context)


@rules.command(CheckPayment, loads=_concerned)
def check(docs: Documents, command: CheckPayment, context: Context) -> Sequence[Event]:
    """See whether the money is still only held: most was taken or given back long ago."""
    return domain.overdue(docs, command.order_id, context)


@rules.command(SettlePayment, loads=_concerned)
def settle(docs: Documents, command: SettlePayment, context: Context) -> Sequence[Event]:
    """Do what the order's status asks for."""
    step = domain.capture if command.order_status == "confirmed" else domain.give_back
    return step(docs, command.order_id, context)


@rules.reactor("ask-bank", PaymentAsked, concurrency=AT_ONCE, attempts=FOR_EVER)
async def ask_bank(event: PaymentAsked, outside: Outside) -> Command | None:
    """Ask the bank to hold the money, as long as somebody wants it: who asks for the first time need not look."""
    if outside.attempt > 1:
        state = await outside.read(payment(event.order_id))
        if state is None or state.status is not Status.ASKED:
            return None
    answer = await outside.invoke(bank.APP, "authorize", bank.authorization(event.order_id, event.amount))
    standing = bank.standing(answer)
    if standing.held:
        return TakeAuthorization(order_id=event.order_id)
    return TakeDecline(order_id=event.order_id, reason=(standing.reason or standing.status)[:500])


@rules.reactor("void-bank", VoidRequested, concurrency=AT_ONCE, attempts=FOR_EVER, alarm=ALARM)
async def void_bank(event: VoidRequested, outside: Outside) -> Command:
    """Have the bank let go; an authorization that lands there later is declined by it."""
    standing = bank.standing(await outside.invoke(bank.APP, "void", bank.operation(event.order_id)))
    if not standing.released:
        raise Conflict(f"the payment of order {event.order_id} is to be void; at the bank it stands {standing.status}")
    return TakeVoid(order_id=event.order_id)


@rules.reactor("capture-bank", CaptureRequested, concurrency=AT_ONCE, attempts=FOR_EVER, alarm=ALARM)
async def capture_bank(event: CaptureRequested, outside: Outside) -> Command:
    """Have the bank take the money: the order is confirmed, so there is no way back."""
    standing = bank.standing(await outside.invoke(bank.APP, "capture", bank.operation(event.order_id)))
    if not standing.captured:
        raise Conflict(f"the payment of order {event.order_id} is to be taken; at the bank it stands {standing.status}")
    return TakeCapture(order_id=event.order_id)


def due(event: PaymentAuthorized, _outside: Outside) -> Command:
    """React to money that is held for long."""
    return CheckPayment(order_id=event.order_id)


@rules.reactor("ask-orders", PaymentOverdue, attempts=FOR_EVER, alarm=ALARM)
async def ask_orders(event: PaymentOverdue, outside: Outside) -> Command:
    """Learn from orders what becomes of the money; an order that is still open is asked after again."""
    answer = await outside.invoke("orders", "order-status", {"orderId": event.order_id})
    if answer["status"] not in {"unknown", "cancelled", "confirmed"}:
        raise Unprocessed(f"order {event.order_id} is still {answer['status']}")
    return SettlePayment(order_id=event.order_id, order_status=answer["status"])


def watch_payments(*, after: float) -> None:
    """Register the deadline of authorized payments, in seconds; later than that of orders."""
    rules.reactor("payment-deadline", PaymentAuthorized, after=after)(due)
