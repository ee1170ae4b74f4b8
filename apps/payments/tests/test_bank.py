"""What payments asks of the bank and of orders, and what it makes of their answers."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from chassis.envelope import Command, Event
from chassis.problems import Conflict, Failed, Unprocessed
from chassis.sidecar import SidecarError, Unanswered
from contracts.money import Money
from payments.domain import CaptureRequested, PaymentAsked, PaymentOverdue, PaymentState, Status, VoidRequested, payment
from payments.saga import (
    AT_ONCE,
    FOR_EVER,
    SettlePayment,
    TakeAuthorization,
    TakeCapture,
    TakeDecline,
    TakeVoid,
    ask_bank,
    ask_orders,
    capture_bank,
    rules,
    void_bank,
)
from support.outside import Elsewhere

ASKED = PaymentAsked(order_id="o-1", amount=Money(9990))
VOID = VoidRequested(order_id="o-1")
CAPTURE = CaptureRequested(order_id="o-1", amount=Money(9990))
OVERDUE = PaymentOverdue(order_id="o-1")
Reaction = Callable[[Any, Elsewhere], Awaitable[Command | None]]


def standing(status: str, reason: str | None = None) -> dict[str, Any]:
    return {"key": "o-1", "status": status, "reason": reason, "amount": "99.90"}


def elsewhere(operation: str, answer: Any, status: Status = Status.ASKED, attempt: int = 1) -> Elsewhere:
    state = PaymentState(order_id="o-1", status=status, amount=Money(9990))
    documents = [(payment("o-1"), state)] if attempt > 1 else []
    return Elsewhere({("bank", operation): answer}, *documents, attempt=attempt)


@pytest.mark.parametrize(
    ("answer", "command"),
    [
        (standing("authorized"), TakeAuthorization(order_id="o-1")),
        (standing("captured"), TakeAuthorization(order_id="o-1")),
        (standing("declined", "no money"), TakeDecline(order_id="o-1", reason="no money")),
        (standing("declined", "n" * 900), TakeDecline(order_id="o-1", reason="n" * 500)),
        (standing("voided"), TakeDecline(order_id="o-1", reason="voided")),
    ],
)
@pytest.mark.parametrize("attempt", [1, 2])
async def test_only_a_definite_answer_is_taken(answer: dict[str, Any], command: Command, attempt: int) -> None:
    outside = elsewhere("authorize", answer, attempt=attempt)
    assert await ask_bank(ASKED, outside) == command
    assert outside.asked == [("bank", "authorize", {"key": "o-1", "amount": "99.90"})]


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.ASKED])
async def test_the_bank_is_not_asked_again_when_nobody_wants_it(status: Status) -> None:
    outside = elsewhere("authorize", standing("authorized"), status, attempt=2)
    assert await ask_bank(ASKED, outside) is None
    assert outside.asked == []


async def test_a_void_and_a_capture_are_done_when_the_bank_says_so() -> None:
    assert await void_bank(VOID, elsewhere("void", standing("voided"))) == TakeVoid(order_id="o-1")
    assert await capture_bank(CAPTURE, elsewhere("capture", standing("captured"))) == TakeCapture(order_id="o-1")


@pytest.mark.parametrize(
    ("react", "event", "operation", "status"),
    [
        (void_bank, VOID, "void", "captured"),
        (capture_bank, CAPTURE, "capture", "authorized"),
        (capture_bank, CAPTURE, "capture", "voided"),
        (capture_bank, CAPTURE, "capture", "unknown"),
    ],
)
async def test_what_the_bank_does_not_do_is_asked_again(
    react: Reaction, event: Event, operation: str, status: str
) -> None:
    with pytest.raises(Conflict, match=f"at the bank it stands {status}"):
        await react(event, elsewhere(operation, standing(status)))


@pytest.mark.parametrize(("react", "event", "operation"), [
    (ask_bank, ASKED, "authorize"), (void_bank, VOID, "void"), (capture_bank, CAPTURE, "capture"),
])  # fmt: skip
@pytest.mark.parametrize("answer", [None, [], {"key": "o-1"}, "yes"])
async def test_what_cannot_be_read_proves_nothing(
    react: Reaction, event: Event, operation: str, answer: object
) -> None:
    with pytest.raises(Failed):
        await react(event, elsewhere(operation, answer))


async def test_no_answer_proves_nothing() -> None:
    with pytest.raises(SidecarError):
        await ask_bank(ASKED, elsewhere("authorize", Unanswered("bank/authorize answered 500")))


@pytest.mark.parametrize("status", ["unknown", "cancelled", "confirmed"])
async def test_orders_is_asked_about_money_that_is_held_for_long(status: str) -> None:
    outside = Elsewhere({("orders", "order-status"): {"orderId": "o-1", "status": status}})
    assert await ask_orders(OVERDUE, outside) == SettlePayment(order_id="o-1", order_status=status)
    assert outside.asked == [("orders", "order-status", {"orderId": "o-1"})]


@pytest.mark.parametrize("status", ["pending", "reserved"])
async def test_an_open_order_is_asked_after_again(status: str) -> None:
    with pytest.raises(Unprocessed):
        await ask_orders(OVERDUE, Elsewhere({("orders", "order-status"): {"orderId": "o-1", "status": status}}))


def test_the_bank_is_asked_for_ever_by_so_many_at_once() -> None:
    asking = [rules.reactors[name] for name in ("ask-bank", "void-bank", "capture-bank")]
    assert {(reactor.concurrency, reactor.attempts) for reactor in asking} == {(AT_ONCE, FOR_EVER)}
    assert all(rules.reactors[name].alarm for name in ("void-bank", "capture-bank"))
