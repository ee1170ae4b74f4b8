"""What must be true when the world has come to rest: all that the audit holds, and what customers were told.

The audit's functions read the stores through a sidecar, as they read real ones (`outrigger.ledgers`); the rest is said
here, in words of its own.
"""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from chassis import keys
from chassis.reconciliation.cursor import origin
from chassis_testing.memory import MemorySidecar
from outrigger import books, promises
from outrigger.audit import expected
from outrigger.ledgers import Ledger, Store
from simulation.bodies import RULES
from simulation.clients import Customer, knock
from simulation.plan import REPLICAS

if TYPE_CHECKING:
    from simulation.town import Town

FINAL = {"reservation": {"rejected", "released", "committed"}, "payment": {"declined", "voided", "captured", "barred"},
         "order": {"confirmed", "cancelled"}}  # fmt: skip
OWNERS = {"reservation": "inventory", "payment": "payments", "order": "orders"}
COPIES = (("price", "inventory", "product", ("price",)), ("customer", "users", "user", ("status",)))
STRANGERS = ("stranger-", "debtor-")  # orders that nobody owns
REPEATED = 3  # wishes that are sent once more
LONG = 10**9  # the age of an order is not asked here: it has ended


class Reader(Store):
    """Reads a store in memory as the audit reads a real one."""

    def __init__(self, town: "Town", service: str) -> None:
        super().__init__(service, "")
        self.sidecar = MemorySidecar(town.stores[service], town.broker, clock=town.loop.time)  # type: ignore[assignment]


def unrest(town: "Town", *, but: tuple[str, ...] = ()) -> str | None:
    """Say what is still going on or open; None where all is quiet. `but`: what names begin with that may be open."""
    return moving(town) or _open(town, but)


def moving(town: "Town") -> str | None:
    """Say what is still going on."""
    if town.busy or not town.broker.idle or town.in_hand:
        broker = "idle" if town.broker.idle else "busy"
        return f"{town.busy} errands, {town.in_hand} calls under way, the broker is {broker}"
    if missed := town.broker.missed():
        return f"lost by the broker, and not found in the journals yet: {Counter(missed)}"
    for replica in town.replicas.values():
        if not replica.serves:
            return f"{replica.tag} does not serve: {replica.engine.reason if replica.engine else 'dead'}"
    for service in RULES:
        for key, head in town.heads(service).items():
            marks = {"relay": head["published"], **head["followers"]}
            late = {n: m for n, m in marks.items() if m < head["tail"] and not n.startswith("deadline/")}
            if late:
                return f"{service} {key} ends at {head['tail']}: {late}"
            holders = [r.instance for r in town.living(service) if r.engine and int(key[5:]) in r.engine.running]
            if holders != ([head["owner"]] if head["owner"] else []):
                return f"{service} {key} is owned by {head['owner']} and run by {holders}"
    return None


def _open(town: "Town", but: tuple[str, ...]) -> str | None:
    for kind, service in OWNERS.items():
        for key, document in town.values(service, f"doc:{kind}:").items():
            state = document["state"]
            if state and state["status"] not in FINAL[kind] and not any(f":{name}" in key for name in but):
                return f"{key} is {state['status']}"
    return None


def letters(town: "Town") -> list[tuple[str, str, dict[str, Any]]]:
    """Return the open dead letters."""
    found = [(service, key, value) for service in RULES for key, value in town.values(service, "dead:").items()]
    return [(service, key, value) for service, key, value in found if value["open"]]


async def judge(town: "Town", customers: list[Customer]) -> list[str]:
    """Return everything that is not as it was promised."""
    ledgers, lost = await _read(town)
    wrong = [*town.wrong, *lost]
    for ledger in ledgers:
        wrong += [*books.journal(ledger), *books.documents(ledger), *books.stock(ledger), *ledger.behind()]
    told = promises.told(ledgers)
    entries, mails = town.bank.entries(), town.mailbox.mails()
    wrong += [
        *promises.orders(told, LONG, town.epoch + town.loop.now),
        *promises.reservations(told),
        *promises.payments(told, entries),
        *promises.strangers(told, entries),
        *promises.mails(told, mails, promises.buried(ledgers)),
        *_published(town, ledgers),
        *_unpublished(town, ledgers),
        *_copies(town),
        *_letters(town),
        *_swept(town, ledgers),
        *_customers(told, customers),
        *_orders_at_most(told, customers),
        *_dropped(told),
        *_nothing_set_aside(town),
    ]
    wrong += await _lists(town, told)
    _count(town, ledgers)
    return wrong


async def _read(town: "Town") -> tuple[list[Ledger], list[str]]:
    readers = [Reader(town, service) for service in RULES]
    ledgers: dict[str, Ledger] = {}
    for reader in readers:
        ledger = await reader.heads()
        assert ledger, f"{reader.service} keeps no ledger"
        await reader.records(ledger)
        await reader.contents(ledger)
        ledgers[reader.service] = ledger
    lost = []
    for reader in readers:
        missing = await reader.unhandled(expected(ledgers[reader.service], ledgers.values()))
        lost += [f"{reader.service} never handled {e['eventType']} {e['subject']}" for e in missing]
    return list(ledgers.values()), lost


def _published(town: "Town", ledgers: list[Ledger]) -> Iterator[str]:
    for ledger in ledgers:
        facts = {e["eventId"]: e for e in ledger.events}
        for event in town.broker.published.get(ledger.service, []):
            if facts.get(event["eventId"]) != event:
                yield f"{ledger.service} published {event['eventType']} {event['subject']}, which its journal has not"
            elif event.get("private"):
                yield f"{ledger.service} published the private {event['eventType']} {event['subject']}"


def _unpublished(town: "Town", ledgers: list[Ledger]) -> Iterator[str]:
    """What counts as published was taken by the broker once, whatever became of it there."""
    for ledger in ledgers:
        taken = {event["eventId"] for event in town.broker.published.get(ledger.service, [])} | town.published_before
        taken |= {letter["message"]["eventId"] for letter in ledger.letters if letter["kind"] == "publication"}
        for event in ledger.published:
            if event["eventId"] not in taken:
                yield f"{ledger.service} never published {event['eventType']} {event['subject']}, and says it has"


def _copies(town: "Town") -> Iterator[str]:
    """A copy is of the newest fact, whenever that came."""
    for kind, owner, of, _ in COPIES:
        owned = town.values(owner, f"doc:{of}:")
        for key, copy in town.values("orders", f"doc:{kind}:").items():
            source = owned.get(key.replace(f":{kind}:", f":{of}:"))
            if copy["state"] is None or source is None:
                continue
            same = copy["state"].get("price") == source["state"].get("price")
            if kind == "customer":
                same = copy["state"]["active"] == (source["state"]["status"] == "active")
            if not same or copy["revision"] != source["revision"]:
                yield f"orders has {key} as {copy}, {owner} as {source}"


def _letters(town: "Town") -> Iterator[str]:
    """A letter is numbered by a head; it is closed when its message is handled, and only then."""
    for service in RULES:
        numbered = sum(head["dead_letters"] for head in town.values(service, "head:").values())
        found = town.values(service, "dead:")
        if numbered != len(found):
            yield f"{service} has {len(found)} dead letters, and its heads number {numbered}"
        for name, letter in found.items():
            mark = town.value(service, keys.inbox(letter["id"]))
            swept = not letter["open"] and mark is None and _is_over(town, service, letter["message"])
            if not swept and mark != ({"dead": name} if letter["open"] else 1):
                yield f"{service} {name} is {'open' if letter['open'] else 'closed'}; its message's mark is {mark}"


def _is_over(town: "Town", service: str, event: Any) -> bool:
    place = origin(event.get("origin"), event["eventType"]) if isinstance(event, dict) else None
    return place is not None and place.over(town.value(service, place.swept))


def _swept(town: "Town", ledgers: list[Ledger]) -> Iterator[str]:
    """What has no mark any more is not handled again, which would leave a new one."""
    redriven = {letter["id"] for service in RULES for letter in town.values(service, "dead:").values()}
    for service in RULES:
        for event in (event for ledger in ledgers for event in ledger.published):
            place = origin(event["origin"], event["eventType"])
            swept = place and town.value(service, place.swept)
            if not (place and swept and place.number <= swept["gone"].get(str(place.lane), 0)):
                continue
            if event["eventType"] in swept["types"] and event["eventId"] not in redriven:
                town.seen["marks swept"] += 1
                if town.value(service, keys.inbox(event["eventId"])) is not None:
                    yield f"{service} handled {event['eventType']} {event['subject']} again, or its mark was not swept"


def _customers(told: promises.Told, customers: list[Customer]) -> Iterator[str]:
    ends = promises.fates(told)
    known: set[str] = set()
    for customer in customers:
        known.update(customer.accepted)
        for order in customer.accepted:
            if order not in ends:
                yield f"customer {customer.wish.number} was promised order {order}, which there is not"
        for status in customer.cancelled:
            if (end := ends.get(customer.accepted[0])) != {200: "cancelled", 409: "confirmed"}.get(status):
                yield f"customer {customer.wish.number} wished to cancel, heard {status}, and the order is {end}"
        if customer.accepted and customer.refused:
            yield f"customer {customer.wish.number} heard both yes and {customer.refused} under one key"
        if customer.status in {"confirmed", "cancelled"} and ends.get(customer.accepted[0]) != customer.status:
            yield f"customer {customer.wish.number} saw {customer.status}; it is {ends.get(customer.accepted[0])}"
    causes = Counter(e["causationId"] for s, e in _created(told))
    for cause, times in causes.items():
        if times > 1:
            yield f"one wish ({cause}) made {times} orders"


def _orders_at_most(told: promises.Told, customers: list[Customer]) -> Iterator[str]:
    placed, most = len(list(_created(told))), sum(customer.orders_at_most for customer in customers)
    if placed > most:
        yield f"{placed} orders were made of {most} wishes"


def _dropped(told: promises.Told) -> Iterator[str]:
    """Only who has no address gets no mail."""
    for subject, events in told.items():
        if events[-1]["eventType"] == "MailDropped" and f"contact/{events[0]['payload'].get('userId')}" in told:
            yield f"{subject} was dropped, although its reader has an address"


def _created(told: promises.Told) -> Iterator[tuple[str, dict[str, Any]]]:
    for subject, events in told.items():
        if subject.startswith("order/"):
            yield subject, events[0]


def _nothing_set_aside(town: "Town") -> Iterator[str]:
    for key, document in town.values("inventory", "doc:stock:").items():
        state = document["state"] or {"reserved": 0}
        if state["reserved"]:
            yield f"{key} holds {state['reserved']} pieces for nobody"


async def _lists(town: "Town", told: promises.Told) -> list[str]:
    """Whoever lists sees everything once."""
    wrong = []
    orders: dict[str, list[str]] = {}
    for subject, created in _created(told):
        orders.setdefault(created["payload"]["userId"], []).append(subject.removeprefix("order/"))
    for person, placed in sorted(orders.items()):
        heard = await knock(town, "GET", f"users/{person}/orders", query={"count": "100"})
        listed = [o["orderId"] for o in heard.json["orders"]] if heard and heard.status == 200 else heard
        if not isinstance(listed, list) or sorted(listed) != sorted(placed):
            wrong.append(f"{person} placed {len(placed)} orders and is shown {listed}")
    heard = await knock(town, "GET", "products")
    offered = {k.rpartition(":")[2]: d["state"] for k, d in town.values("inventory", "doc:product:").items()}
    listed = sorted((p["sku"], p["price"]) for p in heard.json["products"]) if heard and heard.status == 200 else heard
    if listed != sorted((sku, state["price"]) for sku, state in offered.items()):
        wrong.append(f"the list of products is {listed}")
    return wrong


def _count(town: "Town", ledgers: list[Ledger]) -> None:
    """Note which branches of the services were reached."""
    for ledger in ledgers:
        for event in ledger.events:
            name = event["eventType"]
            if name == "OrderCancelled":
                name += f" ({_reason(event['payload']['reason'])})"
            if name == "StockReleased" and not event["payload"]["items"]:
                name += " before the order came"
            town.seen[f"{ledger.service}: {name}"] += 1
        town.seen["dead letters"] += len(ledger.letters)
        town.seen["lanes opened beyond one a replica"] += max(0, len(ledger.heads) - len(REPLICAS))
    town.seen["mails sent again"] += town.mailbox.repeats


def _reason(text: str) -> str:
    for words in ("not settled in time", "cancelled by the customer", "not enough stock", "no more than"):
        if words in text:
            return words
    return "declined" if "declined" in text or "voided" in text else "other"
