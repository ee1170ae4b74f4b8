"""Which mails an order asks for: one of each kind, however often its events come. `mail.py` writes and sends them."""

from datetime import datetime

from pydantic import BaseModel

from chassis import keys
from chassis.envelope import Command, Event
from chassis.rules import Context, Documents, Ref, Rules
from contracts.orders import OrderCancelled, OrderConfirmed, OrderCreated, OrderEvent

rules = Rules()


class MailDue(Event):
    """To be sent. `at` is the order's time: sent again, the mail is the same to the last byte."""

    aggregate, key, published = "mail", "mail_id", False
    mail_id: str
    user_id: str
    title: str
    text: str
    at: datetime


class MailDropped(Event):
    """Never to be sent, and why."""

    aggregate, key, published = "mail", "mail_id", False
    mail_id: str
    reason: str


class DropMail(Command):
    """Give up a mail."""

    mail_id: str
    reason: str


class MailState(BaseModel):
    """One mail: sent or on its way, or why it was dropped."""

    dropped: str | None


mail = rules.document("mail", MailState)


@mail.evolve
def evolve(_state: MailState | None, event: MailDue | MailDropped) -> MailState:
    """Fold one fact into a mail."""
    return MailState(dropped=event.reason if isinstance(event, MailDropped) else None)


def wanted(event: OrderEvent) -> tuple[Ref[MailState]]:
    """Name the mail that an event asks for, such as `created-7f3a`: safe in a Message-ID, and as a file's name."""
    return (mail(f"{event.event_type.removeprefix('Order').lower()}-{keys.part(event.order_id)}"),)


@rules.on(OrderCreated, loads=wanted, history=False)
@rules.on(OrderConfirmed, loads=wanted, history=False)
@rules.on(OrderCancelled, loads=wanted, history=False)
def ask(docs: Documents, event: OrderCreated | OrderConfirmed | OrderCancelled, context: Context) -> tuple[Event, ...]:
    """Ask for a mail, unless it was asked for before."""
    (ref,) = wanted(event)
    title = f"Your order {event.order_id} is {ref.id.partition('-')[0]}"
    text = "\n".join(f"{line.quantity} x {line.sku}" for line in event.items)
    text += f"\n\nThe reason: {event.reason}" if isinstance(event, OrderCancelled) else f"\n\nTotal: {event.total}"
    due = MailDue(mail_id=ref.id, user_id=event.user_id, title=title, text=text, at=event.at or context.moment)
    return () if docs[ref] else (due,)


@rules.command(DropMail, loads=lambda command: (mail(command.mail_id),))
def drop(_docs: Documents, command: DropMail, _context: Context) -> tuple[Event, ...]:
    """Note that a mail is not sent."""
    return (MailDropped(mail_id=command.mail_id, reason=command.reason),)
