"""What must be true across services, the bank and the mail folder: every order ends once, and everybody agrees how."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from chassis import keys
from outrigger.ledgers import Ledger
from outrigger.world import Entry, Mail

ENDS = {"OrderConfirmed": "confirmed", "OrderCancelled": "cancelled"}
RESERVATION_AFTER = {"OrderConfirmed": {"StockCommitted"}, "OrderCancelled": {"StockReleased", "StockRejected"}}
MAILED = {"OrderCreated", *ENDS}
AT_THE_BANK = {"PaymentCaptured": "captured", "PaymentVoided": "voided", "PaymentDeclined": "declined"}
ABSENT = Entry("absent", None, 0)
HOST = "outrigger.example"  # of every Message-ID

Told = Mapping[str, list[dict[str, Any]]]  # every subject's events, of all services


def told(ledgers: Iterable[Ledger]) -> Told:
    """Put all ledgers' events together by subject."""
    return {subject: events for ledger in ledgers for subject, events in ledger.subjects().items()}


def fates(all_told: Told) -> dict[str, str]:
    """Say how each order stands: `open`, `confirmed` or `cancelled`."""
    orders = {s.removeprefix("order/"): events for s, events in all_told.items() if s.startswith("order/")}
    return {name: next((ENDS[k] for k in _kinds(events) if k in ENDS), "open") for name, events in orders.items()}


def orders(all_told: Told, deadline: float, now: float) -> Iterator[str]:
    """Every order ends once, and in time."""
    for subject, events in all_told.items():
        if not subject.startswith("order/"):
            continue
        ends = [kind for kind in _kinds(events) if kind in ENDS]
        age = now - datetime.fromisoformat(events[0]["timestamp"]).timestamp()
        if len(ends) > 1:
            yield f"{subject} ended {len(ends)} times: {ends}"
        elif not ends and age > deadline:
            yield f"{subject} is open for {age:.0f} s"


def reservations(all_told: Told) -> Iterator[str]:
    """What was set aside for an order that ended has been sold or freed, as the order ended."""
    for subject, events in all_told.items():
        fact = events[-1]["eventType"]
        if fact in RESERVATION_AFTER and subject.startswith("order/"):
            last = _kinds(all_told.get(f"reservation/{subject.removeprefix('order/')}", []))[-1:]
            if not last or last[0] not in RESERVATION_AFTER[fact]:
                yield f"{subject} ended with {fact}, its reservation with {last[0] if last else 'nothing'}"


def payments(all_told: Told, book: Mapping[str, Entry]) -> Iterator[str]:
    """Authorized money is taken once for a confirmed order, or let go; the bank's own book says the same."""
    ends = fates(all_told)
    facts = {s.removeprefix("payment/"): Counter(_kinds(e)) for s, e in all_told.items() if s.startswith("payment/")}
    for order, end in ends.items():
        if end == "confirmed" and (times := facts.get(order, Counter())["PaymentCaptured"]) != 1:
            yield f"order/{order} is confirmed, and its payment was captured {times} times"
    for order, count in facts.items():
        end = ends.get(order, "unknown")
        if count["PaymentCaptured"] and end != "confirmed":
            yield f"payment/{order} was captured for an order that is {end}"
        if count["PaymentAuthorized"] and not count["PaymentVoided"] and end not in {"confirmed", "open"}:
            yield f"payment/{order} is authorized for an order that is {end}, and not voided"
        yield from _agrees(order, count, _amount(all_told, order), book.get(order, ABSENT))


def _agrees(order: str, facts: Counter[str], amount: float | None, entry: Entry) -> Iterator[str]:
    for fact, state in AT_THE_BANK.items():
        if facts[fact] and entry.state != state:
            yield f"payment/{order}: {fact}, but in the bank's book it is {entry.state}"
    if entry.taken != facts["PaymentCaptured"]:
        yield f"payment/{order}: the bank took money {entry.taken} times, PaymentCaptured is {facts['PaymentCaptured']}"
    if None not in {entry.amount, amount} and entry.amount != amount:
        yield f"payment/{order}: the bank's book says {entry.amount}, the order {amount}"


def strangers(all_told: Told, book: Mapping[str, Entry]) -> Iterator[str]:
    """The bank holds no money under a key that payments does not know."""
    for key, entry in book.items():
        if f"payment/{key}" not in all_told and entry.state in {"authorized", "captured"}:
            yield f"the bank's book holds {key} as {entry.state}, and payments does not know it"


def buried(ledgers: Iterable[Ledger]) -> set[str]:
    """Return the ids of what is a dead letter still: once redriven, it has no excuse any more."""
    return {letter["id"] for ledger in ledgers for letter in ledger.letters if letter["open"]}


def mails(all_told: Told, folder: Iterable[Mail], buried: Collection[str]) -> Iterator[str]:
    """Each step of an order has one mail, as asked for, or it was said why not. `buried`: see there."""
    found: dict[str, list[Mail]] = defaultdict(list)
    for mail in folder:
        found[mail.message_id].append(mail)
    for message_id, same in found.items():
        if len(same) > 1:
            yield f"mail {message_id} lies {len(same)} times in the folder: {', '.join(m.name for m in same)}"
    due = {f"<{s.removeprefix('mail/')}@{HOST}>": e for s, e in all_told.items() if s.startswith("mail/")}
    for message_id, events in due.items():
        if "MailDropped" not in _kinds(events):
            yield from _as_asked(all_told, message_id, events[0]["payload"], found.get(message_id))
    for message_id in found.keys() - due.keys():
        yield f"mail {message_id or '(without Message-ID)'} lies in the folder, and nobody asked for it"
    yield from _unmailed(all_told, buried)


def _as_asked(all_told: Told, message_id: str, asked: dict[str, Any], found: list[Mail] | None) -> Iterator[str]:
    if not found:
        yield f"mail {message_id} is due and is not in the folder"
        return
    contacts = all_told.get(f"contact/{asked['userId']}", [])
    if contacts and found[0].to not in {contact["payload"]["email"] for contact in contacts}:
        yield f"mail {message_id} does not go to the user of its order"  # whose address is nobody else's business
    if found[0].subject != asked["title"] or asked["text"] not in found[0].text.replace("\r\n", "\n"):
        yield f"mail {message_id} ({found[0].name}) does not say what was asked for"


def _unmailed(all_told: Told, buried: Collection[str]) -> Iterator[str]:
    for subject, events in all_told.items():
        for event in events if subject.startswith("order/") else ():
            mail = (
                f"mail/{event['eventType'].removeprefix('Order').lower()}-{keys.part(subject.removeprefix('order/'))}"
            )
            if event["eventType"] in MAILED and mail not in all_told and event["eventId"] not in buried:
                yield f"{subject}: {event['eventType']} asked for no mail"


def _amount(all_told: Told, order: str) -> float | None:
    asked = (e["payload"]["amount"] for e in all_told.get(f"order/{order}", []) if e["eventType"] == "PaymentRequested")
    return next(asked, None)


def _kinds(events: Iterable[dict[str, Any]]) -> list[str]:
    return [event["eventType"] for event in events]
