"""What becomes of an order's money, in whatever order the news arrives."""

from typing import Any, ClassVar

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from chassis.envelope import Command, Event
from contracts.money import Money
from contracts.orders import Cause, OrderCancelled, OrderConfirmed, PaymentRequested
from contracts.payments import PaymentAuthorized, PaymentCaptured, PaymentDeclined, PaymentVoided
from payments.domain import (
    CaptureRequested,
    PaymentAsked,
    PaymentBarred,
    PaymentOverdue,
    Status,
    VoidRequested,
    payment,
    rules,
)
from payments.saga import (
    CheckPayment,
    SettlePayment,
    TakeAuthorization,
    TakeCapture,
    TakeDecline,
    TakeVoid,
    due,
)
from support.given import World, given

PRICE = Money(9999)
ORDER: dict[str, Any] = {"order_id": "o-1"}
REQUESTED = PaymentRequested(**ORDER, user_id="u-1", amount=PRICE)
CONFIRMED = OrderConfirmed(**ORDER, user_id="u-1", total=PRICE)
CANCELLED = OrderCancelled(**ORDER, user_id="u-1", cause=Cause.CUSTOMER, reason="changed my mind")

ASKED = PaymentAsked(**ORDER, amount=PRICE)
AUTHORIZED = PaymentAuthorized(**ORDER, amount=PRICE)
DECLINED = PaymentDeclined(**ORDER, reason="the card was declined")
TO_VOID = VoidRequested(**ORDER)
VOIDED = PaymentVoided(**ORDER)
TO_CAPTURE = CaptureRequested(**ORDER, amount=PRICE)
CAPTURED = PaymentCaptured(**ORDER, amount=PRICE)
BARRED = PaymentBarred(**ORDER)
OVERDUE = PaymentOverdue(**ORDER)

APPROVAL = TakeAuthorization(**ORDER)
DECLINE = TakeDecline(**ORDER, reason="the card was declined")
LET_GO = TakeVoid(**ORDER)
TAKEN = TakeCapture(**ORDER)
CHECK = CheckPayment(**ORDER)

EVERYTHING = (REQUESTED, CONFIRMED, CANCELLED, APPROVAL, DECLINE, LET_GO, TAKEN, CHECK)


def named(message: Event | Command) -> str:
    return type(message).__name__


class TestTheStraightWay:
    def test_the_bank_is_asked_for_the_money(self) -> None:
        outcome = given(rules).when(REQUESTED).then(ASKED)
        outcome.and_state(payment("o-1"), status=Status.ASKED, amount=PRICE)

    def test_money_that_is_held_is_authorized(self) -> None:
        given(rules, ASKED).when(APPROVAL).then(AUTHORIZED).and_state(payment("o-1"), status=Status.AUTHORIZED)

    def test_a_refusal_of_the_bank_is_the_end(self) -> None:
        outcome = given(rules, ASKED).when(DECLINE).then(DECLINED)
        outcome.and_state(payment("o-1"), status=Status.DECLINED, reason="the card was declined")

    def test_a_confirmed_order_is_paid(self) -> None:
        given(rules, ASKED, AUTHORIZED).when(CONFIRMED).then(TO_CAPTURE)
        given(rules, ASKED, AUTHORIZED, TO_CAPTURE).when(TAKEN).then(CAPTURED)

    def test_a_cancelled_order_is_given_back(self) -> None:
        given(rules, ASKED, AUTHORIZED).when(CANCELLED).then(TO_VOID)
        given(rules, ASKED, AUTHORIZED, TO_VOID).when(LET_GO).then(VOIDED)


class TestTheCrookedWays:
    def test_a_cancel_before_the_request_bars_it(self) -> None:
        given(rules).when(CANCELLED).then(BARRED)
        given(rules, BARRED).when(REQUESTED).then_nothing()

    def test_a_cancel_while_the_bank_is_asked_voids_what_may_come(self) -> None:
        given(rules, ASKED).when(CANCELLED).then(TO_VOID).and_state(payment("o-1"), status=Status.VOIDING)

    @pytest.mark.parametrize("answer", [APPROVAL, DECLINE], ids=named)
    @pytest.mark.parametrize("meanwhile", [(TO_VOID,), (TO_VOID, VOIDED)], ids=["voiding", "voided"])
    def test_an_answer_after_the_cancel_changes_nothing(self, answer: Command, meanwhile: tuple[Event, ...]) -> None:
        given(rules, ASKED, *meanwhile).when(answer).then_nothing()

    def test_a_declined_order_has_nothing_to_give_back(self) -> None:
        given(rules, ASKED, DECLINED).when(CANCELLED).then_nothing()

    def test_a_second_request_asks_nothing(self) -> None:
        for facts in [(ASKED,), (ASKED, AUTHORIZED), (ASKED, DECLINED)]:
            given(rules, *facts).when(REQUESTED.model_copy(update={"amount": Money(1)})).then_nothing()

    def test_a_second_confirmation_takes_nothing(self) -> None:
        given(rules, ASKED, AUTHORIZED, TO_CAPTURE).when(CONFIRMED).then_nothing()
        given(rules, ASKED, AUTHORIZED, TO_CAPTURE, CAPTURED).when(CONFIRMED).then_nothing()

    def test_an_order_that_never_asked_for_money_takes_none(self) -> None:
        assert given(rules).when(CONFIRMED).then_nothing().world.state(payment("o-1")) is None

    def test_nothing_is_taken_before_the_bank_has_answered(self) -> None:
        """Nobody confirms then, except by hand; the deadline of the authorization asks orders."""
        given(rules, ASKED).when(CONFIRMED).then_nothing()

    def test_what_is_to_be_taken_is_not_given_back(self) -> None:
        given(rules, ASKED, AUTHORIZED, TO_CAPTURE).when(CANCELLED).then_nothing()

    def test_what_is_to_be_given_back_is_not_taken(self) -> None:
        given(rules, ASKED, AUTHORIZED, TO_VOID).when(CONFIRMED).then_nothing()

    @pytest.mark.parametrize("late", EVERYTHING, ids=named)
    @pytest.mark.parametrize(
        "end",
        [(ASKED, DECLINED), (ASKED, TO_VOID, VOIDED), (ASKED, AUTHORIZED, TO_CAPTURE, CAPTURED), (BARRED,)],
        ids=["declined", "voided", "captured", "barred"],
    )
    def test_an_end_is_final(self, end: tuple[Event, ...], late: Event | Command) -> None:
        given(rules, *end).when(late).then_nothing()

    @pytest.mark.parametrize("stray", [APPROVAL, DECLINE, LET_GO, TAKEN, CHECK], ids=named)
    def test_an_answer_about_nothing_changes_nothing(self, stray: Command) -> None:
        assert given(rules).when(stray).then_nothing().world.state(payment("o-1")) is None


class TestTheDeadline:
    def test_money_that_is_held_for_long_is_overdue(self) -> None:
        check = due(AUTHORIZED, _outside=None)  # type: ignore[arg-type] - it needs nothing of the world
        outcome = given(rules, ASKED, AUTHORIZED).when(check).then(OVERDUE)
        outcome.and_state(payment("o-1"), status=Status.AUTHORIZED, amount=PRICE)

    @pytest.mark.parametrize("settled", [TO_CAPTURE, TO_VOID], ids=named)
    def test_what_was_settled_is_not(self, settled: Event) -> None:
        given(rules, ASKED, AUTHORIZED, settled).when(CHECK).then_nothing()

    @pytest.mark.parametrize(
        ("status", "fact"), [("unknown", TO_VOID), ("cancelled", TO_VOID), ("confirmed", TO_CAPTURE)]
    )
    def test_orders_says_what_becomes_of_it(self, status: str, fact: Event) -> None:
        settle = SettlePayment(**ORDER, order_status=status)
        given(rules, ASKED, AUTHORIZED, OVERDUE).when(settle).then(fact)
        given(rules, ASKED, AUTHORIZED, OVERDUE, fact).when(settle).then_nothing()


class Till:
    """A bank that does what it was asked, at last: what the reactors would bring about."""

    FOLLOWS: ClassVar[dict[type[Event], Command]] = {VoidRequested: LET_GO, CaptureRequested: TAKEN}

    def __init__(self, world: World, *, approves: bool) -> None:
        self.world, self.approves = world, approves
        self.todo: list[Command] = []

    def hear(self, message: Event | Command) -> None:
        for fact in self.world.handle(message):
            if isinstance(fact.event, PaymentAsked):
                self.todo.append(APPROVAL if self.approves else DECLINE)
            elif follow := self.FOLLOWS.get(type(fact.event)):
                self.todo.append(follow)


@for_all(
    confirmed=st.booleans(), approves=st.booleans(), repeats=st.integers(0, 2), draw=st.data()
)  # fmt: skip
def test_any_order_of_arrival_ends_in_agreement_with_the_order(
    confirmed: bool, approves: bool, repeats: int, draw: st.DataObject
) -> None:
    end = CONFIRMED if confirmed and approves else CANCELLED
    till = Till(given(rules).world, approves=approves)
    waiting: list[Event | Command] = [REQUESTED, end, *[draw.draw(st.sampled_from([REQUESTED, end]))] * repeats]
    while waiting:
        till.hear(waiting.pop(draw.draw(st.integers(0, len(waiting) - 1))))
        waiting += till.todo
        till.todo.clear()
    status = "confirmed" if end is CONFIRMED else "cancelled"
    for message in (CHECK, SettlePayment(**ORDER, order_status=status), TAKEN, LET_GO):  # the deadline comes
        till.hear(message)
    stands = till.world.state(payment("o-1")).status
    assert stands in ({Status.CAPTURED} if end is CONFIRMED else {Status.VOIDED, Status.DECLINED, Status.BARRED})
