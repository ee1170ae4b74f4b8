"""One seed from its beginning to its verdict."""

import asyncio
import gc
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson

from chassis import keys
from chassis_testing.virtual_time import determined
from simulation import branches
from simulation.bodies import DEADLINES, POOL, RULES
from simulation.clients import CANARIES, FORGOTTEN, JSON, PATIENCE, Customer, act, banned, knock, open_shop
from simulation.plan import PEOPLE, TROUBLE, Plan, Wish
from simulation.town import EPOCH, SUBSCRIBERS, Past, Town
from simulation.troubles import calm, strike
from simulation.verdict import STRANGERS, judge, letters, moving, unrest

QUIET_WITHIN = 30.0  # virtual seconds: the deadline of orders has come, those of what is held for them have not
LATER = 40.0  # what is held for an order that nobody owns waits for its deadline, and it alone
SOONER = 6.0  # of a deadline's seconds, those that pass at once
CANARIES_WITHIN = 6.0  # no deadline is that short
LOOK = 0.25
OLD_COPIES = 12  # of each service's events
CPU_SECONDS = 30  # a seed takes less than one
PAST_SEED = 2**32


@dataclass(slots=True)
class Outcome:
    """What came of a seed."""

    plan: Plan
    wrong: list[str]
    hits: Counter[str] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)
    orders: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0  # virtual
    calls: int = 0
    digest: str = ""
    history: list[str] = field(default_factory=list)


_past: list[Past] = []


def past() -> Past:
    """Return how the world stood before every seed: made once, by the same code."""
    if not _past:
        POOL.return_all()
        town = Town(PAST_SEED)
        with determined(PAST_SEED, town.loop, EPOCH):
            try:
                _past.append(_open(town))
            finally:
                town.close()
    return _past[0]


def _open(town: Town) -> Past:
    until(town, lambda: all(r.serves for r in town.replicas.values()), 30.0)
    town.run(open_shop(town, PEOPLE))
    until(town, lambda: unrest(town) is None, QUIET_WITHIN)
    town.calm = True
    for replica in town.replicas.values():
        replica.spawn(replica.leave())
    until(town, lambda: not any(r.alive for r in town.replicas.values()), QUIET_WITHIN)
    rows = {name: dict(store.rows) for name, store in town.stores.items()}
    etags = {name: store._etag for name, store in town.stores.items()}
    published = frozenset(e["eventId"] for events in town.broker.published.values() for e in events)
    return Past(town.loop.now, rows, etags, tuple(town.people), published)


def forget() -> None:
    """Let the past be made again: its code has changed."""
    _past.clear()


def simulate(plan: Plan, *, digest: bool = False, history: bool = False) -> Outcome:
    """Run a seed."""
    before = past()
    POOL.return_all()
    town = Town(plan.seed, before)
    collect = gc.isenabled()
    gc.disable()  # seeds are short, and end with everything let go
    with determined(plan.seed, town.loop, EPOCH), branches.counted(town.seen):
        try:
            outcome = Outcome(plan, _live(town, plan))
            outcome.hits, outcome.seen = town.hits, town.seen
            outcome.orders = _ends(town)
            outcome.seconds, outcome.calls = town.loop.now - before.now, len(town.story)
            outcome.digest = town.digest() if digest else ""
            outcome.history = [*map(str, plan.troubles), *town.lines()] if history else []
        finally:
            town.close()
            if collect:
                gc.enable()
    return outcome


def _live(town: Town, plan: Plan) -> list[str]:
    try:
        with _bounded():
            return _lived(town, plan)
    except (Restless, Stuck) as restless:
        return [*town.wrong, str(restless)]
    except Exception as error:  # noqa: BLE001 - what breaks the world is a finding too
        return [*town.wrong, f"the world broke: {error!r}"]


def _lived(town: Town, plan: Plan) -> list[str]:
    until(town, lambda: all(r.serves for r in town.replicas.values()), 30.0)
    customers = [Customer(town, wish) for wish in plan.wishes]
    for customer in customers:
        town.start(customer.shop())
    for number, each in enumerate(plan.acts):
        town.start(act(town, each, number))
    for trouble in plan.troubles:
        town.loop.call_later(trouble.at, strike, town, trouble)
    town.run(town.sleep(TROUBLE))
    calm(town)
    settle(town, QUIET_WITHIN, strangers=any(each.kind in {"stranger", "debtor"} for each in plan.acts))
    _old_copies(town)
    if plan.canaries:
        customers += _canaries(town, plan)
    return town.run(judged(town, [*customers, *town.newcomers]))


def _old_copies(town: Town) -> None:
    """A broker that was away brings once more what was handled before: nothing follows from it."""
    for topic, events in town.broker.published.items():
        for event in town.dice.sample(events, min(len(events), OLD_COPIES)):
            for service in SUBSCRIBERS[topic]:
                town.broker.put(service, event)
    until(town, lambda: unrest(town) is None, QUIET_WITHIN)


async def judged(town: Town, customers: list[Customer]) -> list[str]:
    wrong = await judge(town, customers)
    for customer in [c for c in customers if c.accepted and c.wish.keyed][:3]:
        await customer.again()
    return wrong + [w for w in town.wrong if w not in wrong]


def settle(town: Town, within: float, *, strangers: bool = False) -> None:
    """Wait until nothing moves and nothing is open; an operator handles dead letters after all.

    What is held for `strangers` is let go by its deadline: time passes for that, when all else has ended.
    """
    for _ in range(4):
        until(town, lambda: moving(town) is None, within)
        if not (again := _readable(town)):
            break
        for service, key, letter in again:
            town.start(_redrive(town, service, key))
            town.start(_late_copy(town, service, letter))
    else:
        town.wrong.append(f"letters stay open: {[letter['reason'] for _, _, letter in _readable(town)]}")
    if strangers:
        until(town, lambda: unrest(town, but=STRANGERS) is None, within)
        town.pass_time(LATER)
    until(town, lambda: unrest(town) is None, within)


def _readable(town: Town) -> list[tuple[str, str, dict[str, Any]]]:
    return [each for each in letters(town) if "unread" not in each[2]["id"]]


async def _redrive(town: Town, service: str, key: str) -> None:
    """Two operators do it, who do not know of each other."""
    body = orjson.dumps({"id": key})
    both = await asyncio.gather(*(town.reach(service, "POST", "/redrive", body, JSON, PATIENCE) for _ in range(2)))
    done = [heard for heard in both if heard and heard.status == 200]
    town.seen["letters redriven"] += bool(done)
    if len(done) > 1:
        town.wrong.append(f"{service} {key} was redriven twice")


async def _late_copy(town: Town, service: str, letter: dict[str, Any]) -> None:
    """The broker brings once more what has been handled after all."""
    if letter["kind"] == "event":
        await town.sleep(1.0)
        town.broker.put(service, letter["message"])


def _canaries(town: Town, plan: Plan) -> list[Customer]:
    """When all is well again everything goes its usual way, and in time."""
    gone = sorted({each.subject for each in plan.acts if each.kind == "deactivate"})
    customers = [*_ended(town, CANARIES), *_ended(town, tuple((banned(person), {409}) for person in gone))]
    if plan.seed % 4 == 0:
        customers += _forgotten(town)
    if plan.seed % 4 == 1:
        town.run(_rebuilt(town))
        until(town, lambda: unrest(town) is None, QUIET_WITHIN)
    return customers


def _ended(town: Town, wishes: Sequence[tuple[Wish, set[Any]]], within: float = CANARIES_WITHIN) -> list[Customer]:
    customers = [Customer(town, wish) for wish, _ in wishes]
    for customer in customers:
        town.start(customer.shop())
    until(town, lambda: unrest(town) is None, within)
    for customer, (_, ends) in zip(customers, wishes, strict=True):
        if customer.accepted:
            town.run(customer.look())
        end = customer.status or next(iter(customer.refused), "no answer")
        if end not in ends:
            town.wrong.append(f"when all was well, {customer.wish.items} ended as {end}")
    return customers


async def _rebuilt(town: Town) -> None:
    """While a view is built anew the old one is shown, whole."""
    before = len(town.values("inventory", "doc:product:"))
    await town.reach("inventory", "POST", "/rebuild", orjson.dumps({"view": "products"}), JSON, PATIENCE)
    for _ in range(40):
        heard = await knock(town, "GET", "products")
        if heard and heard.status == 200 and len(heard.json["products"]) != before:
            town.wrong.append(f"a view that is rebuilt shows {len(heard.json['products'])} of {before} rows")
            return
        await town.sleep(0.05)


def _forgotten(town: Town) -> list[Customer]:
    """The bank is away, so the order's own deadline ends it."""
    town.bank.stopped_until = town.loop.now + DEADLINES["order-deadline"] + 1.5 - SOONER
    town.loop.call_later(1.0, town.pass_time, SOONER)
    customers = _ended(town, ((FORGOTTEN, {"cancelled"}),), DEADLINES["order-deadline"] + 8.0 - SOONER)
    if not customers[0].accepted:
        return customers
    order = town.value("orders", keys.document("order", customers[0].accepted[0]))
    created, *_, last = (moment["at"] for moment in order["state"]["timeline"])
    town.seen["ended by its deadline, as the bank stayed away"] += 1
    took = (datetime.fromisoformat(last) - datetime.fromisoformat(created)).total_seconds()
    if not DEADLINES["order-deadline"] <= took <= DEADLINES["order-deadline"] + 1.5:
        town.wrong.append(f"an order without its bank was ended after {took:.1f} s")
    return customers


@contextmanager
def _bounded() -> Iterator[None]:
    """End a world that turns without its time going on."""

    def stuck(_signal: int, _frame: Any) -> None:
        raise Stuck(f"still turning after {CPU_SECONDS} s of work: something is repeated without a pause")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    was = signal.signal(signal.SIGPROF, stuck)
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, was)


class Stuck(KeyboardInterrupt):
    """The loop has to be left at once; asyncio lets no other exception out of a callback."""


class Restless(Exception):
    """The world does not come to rest."""


def until(town: Town, condition: Any, within: float) -> None:
    deadline = town.loop.now + within
    while not condition():
        if town.loop.now > deadline:
            raise Restless(f"not quiet after {within:.0f} s: {unrest(town)}")
        town.run(town.sleep(LOOK))
        for replica in town.replicas.values():
            if replica.life and replica.life.done() and replica.alive and not replica.leaving:
                raise Restless(f"the engine of {replica.tag} ended by itself: {replica.life!r}")


def _ends(town: Town) -> Counter[str]:
    found = town.values("orders", "doc:order:").values()
    return Counter(d["state"]["status"] for d in found if d["state"])


__all__ = ["RULES", "Outcome", "forget", "past", "simulate"]
