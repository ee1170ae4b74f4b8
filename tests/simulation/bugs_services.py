"""Bugs planted in the services: steps and compensations forgotten, rules not asked, keys made anew."""

from dataclasses import replace
from typing import Any
from uuid import uuid4

import gateway.api
import gateway.fallback
import inventory.domain
import inventory.reservations
import orders.owners
import orders.saga
import payments.bank
import payments.domain
import payments.saga
from chassis.problems import Invalid, Problem
from chassis.rules import Outside
from chassis.service import Reply
from chassis.sidecar import SidecarError, Unanswered
from contracts.orders import Cause
from notifications.domain import DropMail, MailDue, mail
from orders.domain import order
from simulation.bodies import RULES, rules_of
from simulation.planting import Patch, bug, decides, handler, never, reactor_of, reacts


@bug("orders")
def a_rejected_order_is_not_cancelled(patch: Patch) -> None:
    never(patch, "orders", "StockRejected")


@bug("orders")
def a_declined_order_is_not_cancelled(patch: Patch) -> None:
    never(patch, "orders", "PaymentDeclined")


@bug("orders")
def an_authorized_order_is_not_confirmed(patch: Patch) -> None:
    never(patch, "orders", "PaymentAuthorized")


@bug("orders")
def the_deadline_is_off(patch: Patch) -> None:
    never(patch, "orders", "ExpireOrder")


@bug("orders")
def the_deadline_comes_late(patch: Patch) -> None:
    reactors = rules_of("orders").reactors
    patch.setitem(reactors, "order-deadline", replace(reactors["order-deadline"], after=14.0))


@bug("orders")
def the_deadline_cancels_what_is_confirmed(patch: Patch) -> None:
    def expire(docs: Any, command: Any, context: Any) -> Any:
        state = docs[order(command.order_id)]
        return (orders.saga._cancelled(state, Cause.DEADLINE, "not settled in time", context),) if state else ()

    decides(patch, "orders", "ExpireOrder", expire)


@bug("orders")
def the_customer_cancels_what_is_confirmed(patch: Patch) -> None:
    def cancel(docs: Any, command: Any, context: Any) -> Any:
        state = docs[order(command.order_id)]
        if state is None or state.status == "cancelled":
            return ()
        return (orders.saga._cancelled(state, Cause.CUSTOMER, "cancelled by the customer", context),)

    decides(patch, "orders", "CancelRequest", cancel)


@bug("orders")
def steps_are_taken_wherever_the_order_stands(patch: Patch) -> None:
    for step in orders.saga.SAGA:

        def advance(docs: Any, event: Any, context: Any, step: Any = step) -> Any:
            state = docs[order(event.order_id)]
            return step.then(state, event, context) if state else ()

        decides(patch, "orders", step.follows.event_type, advance)


@bug("orders")
def a_cancelled_order_may_still_be_confirmed(patch: Patch) -> None:
    def confirm(docs: Any, event: Any, context: Any) -> Any:
        state = docs[order(event.order_id)]
        return orders.saga.confirm(state, event, context) if state and state.status != "confirmed" else ()

    decides(patch, "orders", "PaymentAuthorized", confirm)


@bug("orders")
def the_owner_is_not_asked(patch: Patch) -> None:
    async def ask(_self: Any, refused: Invalid) -> Any:
        raise refused

    patch.setattr(orders.owners.Owners, "ask", ask)


@bug("orders")
def deactivated_users_may_order(patch: Patch) -> None:
    original = handler("orders", "PlaceOrder").decide

    class Blind:
        def __init__(self, docs: Any) -> None:
            self.docs = docs

        def __getitem__(self, ref: Any) -> Any:
            state = self.docs[ref]
            return state.model_copy(update={"active": True}) if ref.kind == "customer" and state else state

    decides(patch, "orders", "PlaceOrder", lambda docs, command, context: original(Blind(docs), command, context))


@bug("inventory")
def a_release_forgets_the_pieces(patch: Patch) -> None:
    original = handler("inventory", "OrderCancelled").decide
    decides(patch, "inventory", "OrderCancelled", lambda *given: tuple(original(*given))[:1])


@bug("inventory")
def a_commit_forgets_the_pieces(patch: Patch) -> None:
    original = handler("inventory", "OrderConfirmed").decide
    decides(patch, "inventory", "OrderConfirmed", lambda *given: tuple(original(*given))[:1])


@bug("inventory")
def the_release_is_forgotten(patch: Patch) -> None:
    never(patch, "inventory", "OrderCancelled")


@bug("inventory")
def the_commit_is_forgotten(patch: Patch) -> None:
    never(patch, "inventory", "OrderConfirmed")


@bug("inventory")
def the_tombstone_is_forgotten(patch: Patch) -> None:
    original = handler("inventory", "OrderCancelled").decide

    def release(docs: Any, event: Any, context: Any) -> Any:
        known = docs[inventory.reservations.reservation(event.order_id)]
        return original(docs, event, context) if known else ()

    decides(patch, "inventory", "OrderCancelled", release)


@bug("inventory")
def only_the_first_line_is_looked_at(patch: Patch) -> None:
    original = inventory.domain.shortfall

    def shortfall(docs: Any, wanted: dict[str, int]) -> str | None:
        return original(docs, dict(list(wanted.items())[:1]))

    patch.setattr(inventory.reservations, "shortfall", shortfall)


@bug("inventory")
def an_order_is_granted_in_part(patch: Patch) -> None:
    original = handler("inventory", "OrderCreated").decide
    decides(patch, "inventory", "OrderCreated", lambda *given: tuple(original(*given))[:2])


@bug("inventory")
def what_a_stranger_reserved_stays_reserved(patch: Patch) -> None:
    never(patch, "inventory", "CheckReservation")


@bug("inventory")
def restocking_counts_as_initial(patch: Patch) -> None:
    moves = inventory.domain._MOVES
    patch.setitem(moves, inventory.domain.Restocked, {"initial": +1, "available": +1})


@bug("payments")
def the_void_is_forgotten(patch: Patch) -> None:
    never(patch, "payments", "OrderCancelled")


@bug("payments")
def the_void_of_what_is_being_asked_is_forgotten(patch: Patch) -> None:
    original = handler("payments", "OrderCancelled").decide

    def give_back(docs: Any, event: Any, context: Any) -> Any:
        state = docs[payments.domain.payment(event.order_id)]
        return () if state and state.status == "asked" else original(docs, event, context)

    decides(patch, "payments", "OrderCancelled", give_back)


@bug("payments")
def the_tombstone_of_a_payment_is_forgotten(patch: Patch) -> None:
    original = handler("payments", "OrderCancelled").decide

    def give_back(docs: Any, event: Any, context: Any) -> Any:
        known = docs[payments.domain.payment(event.order_id)]
        return original(docs, event, context) if known else ()

    decides(patch, "payments", "OrderCancelled", give_back)


@bug("payments")
def the_bank_is_not_told_of_the_void(patch: Patch) -> None:
    reacts(patch, "payments", "void-bank", lambda event, _outside: payments.saga.TakeVoid(order_id=event.order_id))


@bug("payments")
def the_capture_is_forgotten(patch: Patch) -> None:
    never(patch, "payments", "OrderConfirmed")


@bug("payments")
def the_bank_is_not_told_of_the_capture(patch: Patch) -> None:
    reacts(
        patch, "payments", "capture-bank", lambda event, _outside: payments.saga.TakeCapture(order_id=event.order_id)
    )


@bug("payments")
def a_late_authorization_undoes_a_void(patch: Patch) -> None:
    def authorized(docs: Any, command: Any, context: Any) -> Any:
        state = docs[payments.domain.payment(command.order_id)]
        known = payments.domain.PaymentAuthorized(order_id=command.order_id, amount=state.amount, at=context.moment)
        return (known,)

    decides(patch, "payments", "TakeAuthorization", authorized)


@bug("payments")
def every_attempt_has_a_key_of_its_own(patch: Patch) -> None:
    original = payments.bank.authorization

    def authorization(order_id: str, amount: Any) -> Any:
        return {**original(order_id, amount), "key": f"{order_id}-{uuid4()}"}

    patch.setattr(payments.bank, "authorization", authorization)


@bug("payments")
def an_answer_that_does_not_come_is_a_decline(patch: Patch) -> None:
    original = reactor_of("payments", "ask-bank").react

    async def ask(event: Any, outside: Outside) -> Any:
        try:
            return await original(event, outside)  # type: ignore[misc] - it is a coroutine function
        except SidecarError:
            return payments.saga.TakeDecline(order_id=event.order_id, reason="no answer")

    reacts(patch, "payments", "ask-bank", ask)


@bug("payments")
def an_answer_that_does_not_come_is_a_yes(patch: Patch) -> None:
    original = reactor_of("payments", "ask-bank").react

    async def ask(event: Any, outside: Outside) -> Any:
        try:
            return await original(event, outside)  # type: ignore[misc] - it is a coroutine function
        except SidecarError:
            return payments.saga.TakeAuthorization(order_id=event.order_id)

    reacts(patch, "payments", "ask-bank", ask)


@bug("payments")
def a_decline_is_taken_for_a_yes(patch: Patch) -> None:
    patch.setattr(payments.bank.Standing, "held", property(lambda self: self.status != "unknown"))


@bug("payments")
def the_bank_is_asked_for_another_amount(patch: Patch) -> None:
    original = payments.bank.authorization

    def authorization(order_id: str, amount: Any) -> Any:
        return {**original(order_id, amount), "amount": str(amount).partition(".")[0] + ".00"}

    patch.setattr(payments.bank, "authorization", authorization)


@bug("payments")
def money_that_a_stranger_asked_for_is_held_for_ever(patch: Patch) -> None:
    never(patch, "payments", "CheckPayment")


@bug("notifications")
def nobody_writes_of_a_cancelled_order(patch: Patch) -> None:
    never(patch, "notifications", "OrderCancelled")


@bug("notifications")
def a_mail_without_a_receipt_counts_as_sent(patch: Patch) -> None:
    original = reactor_of("notifications", "send-mail").react

    async def send(due: Any, outside: Outside) -> Any:
        try:
            return await original(due, outside)  # type: ignore[misc] - it is a coroutine function
        except SidecarError:
            return None

    reacts(patch, "notifications", "send-mail", send)


@bug("notifications")
def a_mail_is_dropped_when_users_do_not_answer(patch: Patch) -> None:
    original = reactor_of("notifications", "send-mail").react

    async def send(due: Any, outside: Outside) -> Any:
        try:
            return await original(due, outside)  # type: ignore[misc] - it is a coroutine function
        except (Problem, Unanswered) as away:
            return DropMail(mail_id=due.mail_id, reason=str(away))

    reacts(patch, "notifications", "send-mail", send)


@bug("notifications")
def a_mail_has_a_new_name_every_time(patch: Patch) -> None:
    original = reactor_of("notifications", "send-mail").react

    class Renaming:
        def __init__(self, outside: Any) -> None:
            self.outside, self.idempotency_key = outside, outside.idempotency_key
            self.invoke = outside.invoke

        async def bind(self, binding: str, operation: str, data: str, _metadata: Any) -> None:
            await self.outside.bind(binding, operation, data, {"fileName": f"{uuid4()}.eml"})

    reacts(patch, "notifications", "send-mail", lambda due, outside: original(due, Renaming(outside)))  # type: ignore[arg-type]


@bug("notifications")
def all_mails_of_an_order_are_one(patch: Patch) -> None:
    def ask(docs: Any, event: Any, context: Any) -> Any:
        ref = mail(f"created-{event.order_id}")
        due = MailDue(mail_id=ref.id, user_id=event.user_id, title="Your order", text="", at=context.moment)
        return () if docs[ref] else (due,)

    for kind in ("OrderConfirmed", "OrderCancelled"):
        patch.setitem(
            RULES["notifications"].events, kind,
            replace(handler("notifications", kind), decide=ask, loads=lambda e: (mail(f"created-{e.order_id}"),)),
        )  # fmt: skip


@bug("users")
def a_deactivation_is_not_told(patch: Patch) -> None:
    never(patch, "users", "DeactivateUser")


@bug("gateway")
def no_key_is_attached_where_there_is_none(patch: Patch) -> None:
    patch.setattr(gateway.api, "_key", lambda given: given or f"{uuid4()}")
    original = gateway.api.Upstream.post

    async def post(self: Any, method: str, body: Any, *, key: str) -> Reply:
        if len(key) < 36:
            return await original(self, method, body, key=key)
        async with self._going():
            return await self._service.call(self._app, method, body=body)

    patch.setattr(gateway.api.Upstream, "post", post)


@bug("gateway")
def old_answers_are_not_marked(patch: Patch) -> None:
    original = gateway.fallback.Fallback.recall

    def recall(self: Any, asked: Any) -> Reply | None:
        found = original(self, asked)
        return Reply(found.status, found.body) if found else None

    patch.setattr(gateway.fallback.Fallback, "recall", recall)
