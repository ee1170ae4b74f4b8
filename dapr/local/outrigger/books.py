"""What must be true of one service's ledger alone: no record is missing, every document is the sum of its events.

What the documents must hold is told again here, from the events alone and on purpose in other words than the services
use: an auditor does not borrow the books' own sums.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from outrigger.ledgers import Ledger

Facts = Sequence[dict[str, Any]]  # the envelopes of one aggregate, by revision

MOVES = {
    "StockOpened": {"initial": +1, "available": +1},
    "Restocked": {"restocked": +1, "available": +1},
    "StockHeld": {"available": -1, "reserved": +1},
    "StockFreed": {"available": +1, "reserved": -1},
    "StockSold": {"reserved": -1, "committed": +1},
}
ORDER_STATUS = {
    "OrderCreated": "pending",
    "PaymentRequested": "reserved",
    "OrderConfirmed": "confirmed",
    "OrderCancelled": "cancelled",
}
PAYMENT_STATUS = {
    "PaymentAsked": "asked",
    "PaymentAuthorized": "authorized",
    "PaymentOverdue": "authorized",
    "PaymentDeclined": "declined",
    "VoidRequested": "voiding",
    "PaymentVoided": "voided",
    "CaptureRequested": "capturing",
    "PaymentCaptured": "captured",
    "PaymentBarred": "barred",
}
RESERVATION_STATUS = {
    "StockReserved": "held",
    "ReservationOverdue": "held",
    "StockRejected": "rejected",
    "StockReleased": "released",
    "StockCommitted": "committed",
}


def journal(ledger: Ledger) -> Iterator[str]:
    """No number is missing, every event says truly where it stands, no id comes twice."""
    for (lane, number), record in ledger.records.items():
        if record is None:
            yield f"{ledger.service}: record {number} of lane {lane} is missing"
            continue
        place = f"{ledger.service}/{ledger.heads[lane]['journal_id']}/{lane}/{number}"
        for index, event in enumerate(record["events"]):
            if event["origin"] != f"{place}#{index}":
                yield f"{ledger.service}: {event['eventId']} stands at {place}#{index} but says {event['origin']}"
    for event_id, count in Counter(e["eventId"] for e in ledger.events).items():
        if count > 1:
            yield f"{ledger.service}: event {event_id} was recorded {count} times"


def documents(ledger: Ledger) -> Iterator[str]:
    """Each document has folded exactly its events: revisions 1 to n, it stands at n, and holds what they say."""
    for subject, events in ledger.subjects().items():
        revisions = [e["revision"] for e in events]
        stored = ledger.documents.get(subject)
        if revisions != list(range(1, len(events) + 1)):
            yield f"{ledger.service}: {subject} has revisions {revisions[:10]}, not 1 to {len(events)}"
        elif stored is None:
            yield f"{ledger.service}: {subject} has {len(events)} events and no document"
        elif stored["revision"] != len(events):
            yield f"{ledger.service}: {subject} stands at revision {stored['revision']} of {len(events)}"
        else:
            yield from _contents(f"{ledger.service}: {subject}", events, stored["state"] or {})


def _contents(name: str, events: Facts, state: dict[str, Any]) -> Iterator[str]:
    told = TOLD.get(events[0]["subject"].partition("/")[0])
    for member, value in told(events).items() if told else ():
        if state.get(member) != value:
            yield f"{name}: {member} is not what its events say"  # nor is it shown: it may be an address


def stock(ledger: Ledger) -> Iterator[str]:
    """No pieces are promised twice, at no moment."""
    for subject, events in ledger.subjects().items():
        if not subject.startswith("stock/"):
            continue
        for event, sums in zip(events, _sums(events), strict=True):
            if negative := [term for term, pieces in sums.items() if pieces < 0]:
                yield f"{ledger.service}: {subject}: {negative[0]} was negative at revision {event['revision']}"


def _sums(events: Facts) -> Iterator[dict[str, int]]:
    """Yield where the pieces are after each event."""
    sums: dict[str, int] = dict.fromkeys(("initial", "restocked", "available", "reserved", "committed"), 0)
    for event in events:
        for term, sign in MOVES[event["eventType"]].items():
            sums[term] += sign * event["payload"]["quantity"]
        yield dict(sums)


def _stock(events: Facts) -> dict[str, Any]:
    *_, sums = _sums(events)
    return sums


def _order(events: Facts) -> dict[str, Any]:
    created, last = events[0]["payload"], events[-1]
    lines = [{"sku": i["sku"], "quantity": i["quantity"], "unit_price": i["unitPrice"]} for i in created["items"]]
    return {
        "order_id": created["orderId"], "user_id": created["userId"], "items": lines, "total": created["total"],
        "status": ORDER_STATUS[last["eventType"]], "reason": last["payload"].get("reason"),
    }  # fmt: skip


def _product(events: Facts) -> dict[str, Any]:
    return {name: events[-1]["payload"][name] for name in ("sku", "name", "price")}


def _reservation(events: Facts) -> dict[str, Any]:
    last = events[-1]
    return {"status": RESERVATION_STATUS[last["eventType"]], "items": last["payload"]["items"]}


def _payment(events: Facts) -> dict[str, Any]:
    amounts = [e["payload"]["amount"] for e in events if e["eventType"] == "PaymentAsked"]
    return {"status": PAYMENT_STATUS[events[-1]["eventType"]], "amount": amounts[0] if amounts else 0}


def _user(events: Facts) -> dict[str, Any]:
    return {"status": "inactive" if events[-1]["eventType"] == "UserDeactivated" else "active"}


def _contact(events: Facts) -> dict[str, Any]:
    return {name: events[-1]["payload"][name] for name in ("name", "email")}


def _mail(events: Facts) -> dict[str, Any]:
    return {"dropped": events[-1]["payload"].get("reason")}


TOLD: dict[str, Callable[[Facts], dict[str, Any]]] = {
    "contact": _contact,
    "mail": _mail,
    "order": _order,
    "payment": _payment,
    "product": _product,
    "reservation": _reservation,
    "stock": _stock,
    "user": _user,
}
