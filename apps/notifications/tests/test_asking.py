"""Which mails an order asks for."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

import notifications
from contracts.money import Money
from contracts.orders import Cause, OrderCancelled, OrderConfirmed, OrderCreated, OrderEvent, OrderLine
from contracts.values import Line
from notifications.domain import DropMail, MailDropped, MailDue, mail, wanted
from notifications.mail import rules
from support.given import NOW, given

AT = datetime(2024, 1, 15, tzinfo=UTC)
LINES = (Line(sku="TEA", quantity=2), Line(sku="CUP", quantity=1))
PRICED = tuple(OrderLine(sku=line.sku, quantity=line.quantity, unit_price=Money(300)) for line in LINES)
CREATED = OrderCreated(order_id="o-1", user_id="u-1", items=PRICED, total=Money(900), at=AT)
CONFIRMED = OrderConfirmed(order_id="o-1", user_id="u-1", items=LINES, total=Money(900), at=AT)
CANCELLED = OrderCancelled(
    order_id="o-1", user_id="u-1", items=LINES, cause=Cause.STOCK, reason="not enough stock of TEA", at=AT
)
STEPS = [
    ("created", CREATED, "2 x TEA\n1 x CUP\n\nTotal: 9.00"),
    ("confirmed", CONFIRMED, "2 x TEA\n1 x CUP\n\nTotal: 9.00"),
    ("cancelled", CANCELLED, "2 x TEA\n1 x CUP\n\nThe reason: not enough stock of TEA"),
]
KINDS = [kind for kind, _, _ in STEPS]


def due(kind: str, text: str) -> MailDue:
    return MailDue(mail_id=f"{kind}-o-1", user_id="u-1", title=f"Your order o-1 is {kind}", text=text, at=AT)


@pytest.mark.parametrize(("kind", "event", "text"), STEPS, ids=KINDS)
def test_each_step_of_an_order_asks_for_a_mail(kind: str, event: OrderEvent, text: str) -> None:
    outcome = given(rules).when(event).then(due(kind, text)).and_state(mail(f"{kind}-o-1"), dropped=None)
    assert [fact.at for fact in outcome.facts if isinstance(fact, MailDue)] == [AT]


@pytest.mark.parametrize(("kind", "event", "text"), STEPS[1:], ids=KINDS[1:])
def test_another_step_asks_for_another_mail(kind: str, event: OrderEvent, text: str) -> None:
    given(rules, CREATED).when(event).then(due(kind, text))


@pytest.mark.parametrize("event", [event for _, event, _ in STEPS], ids=KINDS)
def test_a_step_that_is_told_twice_asks_once(event: OrderEvent) -> None:
    given(rules, event).when(event.model_copy(update={"user_id": "u-2"})).then_nothing()


def test_an_event_without_a_time_of_its_own_takes_the_time_of_its_arrival() -> None:
    (asked,) = given(rules).when(CREATED.model_copy(update={"at": None})).facts
    assert isinstance(asked, MailDue)
    assert asked.at.timestamp() == NOW


def test_a_mail_that_cannot_be_sent_says_why() -> None:
    outcome = given(rules, CREATED).when(DropMail(mail_id="created-o-1", reason="there is no user u-1"))
    outcome.then(MailDropped(mail_id="created-o-1", reason="there is no user u-1"))
    outcome.and_state(mail("created-o-1"), dropped="there is no user u-1")


@pytest.mark.parametrize("order_id", ["a/b", "../../etc/passwd", "ö", "x" * 100, "ö" * 100, "<o@x>", " "])
def test_whatever_an_order_is_called_its_mail_has_a_harmless_name(order_id: str) -> None:
    (ref,) = wanted(CREATED.model_copy(update={"order_id": order_id}))
    assert ref.id.isascii()
    assert not set(ref.id) & set("/\\<>@ ")
    assert len(ref.id) <= 120


def test_nothing_of_it_is_published() -> None:
    assert not MailDue.published
    assert not MailDropped.published


def test_the_whole_service_is_a_page_long() -> None:
    """It stands in the README as "how to write a service"."""
    modules = Path(notifications.__file__).parent.rglob("*.py")
    assert sum(len(module.read_text().splitlines()) for module in modules) <= 120
