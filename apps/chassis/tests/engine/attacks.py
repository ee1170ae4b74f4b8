"""Interleavings that break simpler engines, each as a function that ends well only if the engine survives it.

`test_attacks.py` runs them, and runs each again with its defence taken away, where it has to fail.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, cast

from accounts import (
    Account,
    Buy,
    Close,
    Deposit,
    Deposited,
    Move,
    PaymentMade,
    PriceChanged,
    Withdraw,
    Withdrawn,
    make_rules,
)  # fmt: skip
from world import FAST, World, alive, envelope, order, until

from chassis import keys
from chassis.engine import Engine, StoreUnfit, probe
from chassis.problems import Conflict, Failed, Invalid
from chassis.rules import Context, Documents, Outside, Rules
from chassis.service import Service
from chassis.sidecar import Operation, Put, SidecarError, Unanswered
from chassis.work import Reply
from chassis_testing.faults import CRASH_AFTER, CRASH_BEFORE, LATE, LOST_ANSWER, REFUSED, Crashed, Fault, Faults
from chassis_testing.memory import MemorySidecar, MemoryStore

Attack = Callable[[], Any]
ATTACKS: dict[str, Attack] = {}


def attack(name: str) -> Callable[[Attack], Attack]:
    def register(function: Attack) -> Attack:
        ATTACKS[name] = function
        return function

    return register


def on_transact(when: Callable[[Sequence[Operation]], bool], fault: Fault, times: int = 1) -> Faults:
    """Meet the first `times` transactions that fit with `fault`."""
    left = iter(range(times))

    def faults(verb: str, subject: Any) -> Fault | None:
        hit = verb == "transact" and when(subject) and next(left, None) is not None
        return fault if hit else None

    return faults


def writes(prefix: str) -> Callable[[Sequence[Operation]], bool]:
    return lambda operations: any(o.key.startswith(prefix) for o in operations)


RECORD = writes("journal:")


class Gate:
    """Holds the first transaction that writes a record, so that others gather behind it."""

    def __init__(self, then: Faults | None = None) -> None:
        self.open, self.reached, self.then = asyncio.Event(), asyncio.Event(), then

    def __call__(self, verb: Any, subject: Any) -> Fault | None:
        if verb == "transact" and RECORD(subject):
            if not self.reached.is_set():
                self.reached.set()
                return Fault(before=self.open)
            return self.then(verb, subject) if self.then else None
        return None


async def together(service: Service, gate: Gate, *works: Any) -> list[Any]:
    """Get several pieces of work into one batch: they arrive while a commit is in flight."""
    first = asyncio.ensure_future(order(service, Deposit(account="gate", amount=1)))
    await gate.reached.wait()
    waiting = [asyncio.ensure_future(w) for w in works]
    await until(lambda: service.engine and service.engine.main and service.engine.main.executor.queued == len(works))
    gate.open.set()
    await first
    return await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 5)


def set_price(world: World, amount: int, revision: int) -> None:
    """As another replica would."""
    row = {"revision": revision, "state": {"amount": amount}}
    world.store.apply([Put(keys.document("price", "s"), row)], world.now)


@attack("1 late commit, then refused")
async def late_commit() -> None:
    world = World()
    set_price(world, 1, 1)

    def dearer(operations: Sequence[Operation]) -> bool:
        if RECORD(operations):
            set_price(world, 9, 2)
            return True
        return False

    async with world.running(faults=on_transact(dearer, LATE), lease=60) as service:
        with contextlib.suppress(Conflict):
            await order(service, Buy(account="a", sku="s", limit=5))
            raise AssertionError("the price had changed")
        world.store.land()
        assert world.events() == []  # what was refused never comes true
    world.check()


@attack("1 late commit, refused elsewhere")
async def refused_elsewhere() -> None:
    world = World()
    set_price(world, 1, 1)
    wish = Buy(account="a", sku="s", limit=5)
    dying = world.service(instance="a", faults=on_transact(RECORD, Fault(Crashed, late=True)))
    await dies(dying, order(dying, wish, key="k"))
    set_price(world, 9, 2)
    async with world.running(instance="b", lease=60) as other:
        with contextlib.suppress(Conflict):
            await order(other, wish, key="k")
            raise AssertionError("the price had changed")
        world.store.land()
        assert world.events() == []
        set_price(world, 2, 3)
        await order(other, wish, key="k")  # what was refused may be asked again
        assert world.balance("a") == 2


@attack("1 the answer is lost")
async def lost_answer() -> None:
    world = World()
    async with world.running(faults=on_transact(RECORD, LOST_ANSWER, times=2)) as service:
        reply = await order(service, Deposit(account="a", amount=5), key="k")
        assert (reply.status, world.balance("a")) == (202, 5)
        assert service.engine
        assert len(world.value(keys.LANES))
        assert world.value(keys.LANES)["lanes"] == 1
    world.check()


@attack("1 late commit over a restart")
async def late_over_restart() -> None:
    world = World()
    service = world.service(faults=on_transact(RECORD, Fault(Crashed, late=True)))
    await dies(service, order(service, Deposit(account="a", amount=5), key="k"))
    async with world.running() as restarted:
        world.store.land()
        await order(restarted, Deposit(account="a", amount=5), key="k")
        await order(restarted, Deposit(account="b", amount=1))
        assert world.balance("a") == 5
        assert world.value(keys.LANES)["lanes"] == 1
    assert world.head()["tail"] == 2
    world.check()


@attack("2 the replay comes after a week")
async def replay_after_a_week() -> None:
    world = World()
    event = envelope("PaymentMade", {"payment": "p", "account": "a", "amount": 7})
    async with world.running() as service:
        await service.deliver({"data": event})
        world.now += 8 * 24 * 3600
        await service.deliver({"data": event})
        assert world.balance("a") == 7


@attack("3 numbers used again")
async def numbers_used_again() -> None:
    told = []
    for _ in range(2):  # the producer's store is wiped in between
        producer = World()
        async with producer.running() as service:
            await order(service, Deposit(account="a", amount=1))
            await until(lambda broker=producer.broker: broker.published.get("bank"))
        told += producer.broker.published["bank"]
    assert told[0]["origin"].split("/")[2:] == told[1]["origin"].split("/")[2:]
    consumer = World()
    async with consumer.running("echo", rules=echo()) as service:
        for event in told:
            await service.deliver({"data": event})
    assert consumer.balance("a") == 2


def echo() -> Rules:
    rules = Rules()
    account = rules.document("account", Account)
    source = make_rules()
    account.fold = source.documents["account"].fold

    @rules.on(Deposited, loads=lambda e: [account(e.account)])
    def echoed(_docs: Documents, event: Deposited, _context: Context) -> Sequence[Any]:
        return [Deposited(account=event.account, amount=event.amount)]

    return rules


@attack("4 an older revision comes later")
async def older_comes_later() -> None:
    world = World()
    async with world.running() as service:
        for revision, amount in ((2, 20), (1, 10), (3, 30)):
            await service.deliver({"data": envelope("PriceChanged", {"sku": "s", "amount": amount}, revision=revision)})
            expected = {2: 20, 1: 20, 3: 30}[revision]
            assert world.value(keys.document("price", "s"))["state"] == {"amount": expected}


@attack("4 a later lane is read first")
async def later_lane_first() -> None:
    world = World()
    async with world.running(instance="a") as a, world.running(instance="b") as b:
        assert a.engine
        assert b.engine
        assert a.engine.main
        assert b.engine.main
        held = a.engine.main.followers["view/accounts/0"]
        held.cancel()  # the replica that wrote revision 1 does not get to its view for a while
        await order(a, Deposit(account="x", amount=5))
        await order(b, Withdraw(account="x", amount=2))
        await until(lambda: b.engine and b.engine.main and b.engine.main.executor.marks["view/accounts/0"] == 1)
    async with world.running(instance="a") as a:
        view = a.rules.views["accounts"]
        await until_async(lambda: a.page(view, "all", 0), lambda rows: [r.balance for r in rows] == [3])


async def dies(service: Service, *works: Awaitable[Any]) -> None:
    """Run it until its sidecar has crashed, or all is answered."""
    sidecar = cast("MemorySidecar", service.sidecar)
    with contextlib.suppress(Crashed):
        async with alive(service):
            asked = asyncio.ensure_future(asyncio.gather(*works, return_exceptions=True))
            await until(lambda: sidecar.crashed or asked.done())
            asked.cancel()
            if sidecar.crashed:
                raise Crashed


async def until_async(ask: Callable[[], Any], good: Callable[[Any], bool], within: float = 3.0) -> None:
    async with asyncio.timeout(within):
        while not good(await ask()):
            await asyncio.sleep(0.005)


@attack("7 one of a batch was done elsewhere")
async def one_done_elsewhere() -> None:
    world = World()
    a, b = (envelope("PaymentMade", {"payment": p, "account": p, "amount": 1}, event_id=p) for p in "ab")

    def elsewhere(operations: Sequence[Operation]) -> bool:
        if any(o.key == keys.inbox("a") for o in operations) and world.value(keys.inbox("a")) is None:
            world.store.apply([Put(keys.inbox("a"), 1, insert=True)], world.now)
        return False

    gate = Gate(on_transact(elsewhere, REFUSED))
    async with world.running(faults=gate, lease=60) as service:  # no heartbeat may write for the batch
        await together(service, gate, service.deliver({"data": a}), service.deliver({"data": b}))
        assert (world.balance("a"), world.balance("b")) == (0, 1)
    world.check()


@attack("8 an abandoned lane")
async def abandoned_lane() -> None:
    world = World()
    reacted: list[str] = []

    def react(event: Withdrawn, _outside: Outside) -> Deposit:
        reacted.append(event.account)
        return Deposit(account="reacted", amount=event.amount)

    async with world.running(instance="a", rules=make_rules(react=react)):
        dying = world.service(instance="b", rules=make_rules(react=react))

        def no_relay(verb: str, _subject: Any) -> Fault | None:
            return CRASH_BEFORE if verb == "publish" else None

        dying.sidecar.faults = no_relay  # type: ignore[attr-defined]
        wishes = (Deposit(account="x", amount=5), Withdraw(account="x", amount=2))
        await dies(dying, *(order(dying, wish) for wish in wishes), asyncio.Event().wait())
        assert any(e["eventType"] == "Withdrawn" for e in world.events())
        await until(lambda: world.balance("reacted") == 2, 20 * FAST)
        await until(lambda: world.head(1)["owner"] is None and world.head(1)["published"] == world.head(1)["tail"])
    world.check()


@attack("8 a paused owner wakes")
async def paused_owner() -> None:
    world = World()
    frozen = asyncio.Event()
    async with world.running(instance="a") as other:
        hold: list[Fault] = []

        def freeze(verb: str, subject: Any) -> Fault | None:
            return hold[0] if hold and verb == "transact" and RECORD(subject) else None

        service = world.service(instance="b", faults=freeze)
        async with alive(service):
            assert service.engine
            assert service.engine.main
            lane = service.engine.main.executor.number
            await order(service, Deposit(account="x", amount=1))
            hold.append(Fault(before=frozen))
            late = asyncio.ensure_future(order(service, Deposit(account="x", amount=2), key="k"))
            await until(lambda: world.head(lane)["owner"] != "b", 20 * FAST)
            assert other.engine
            other.engine._give_back = lambda: None  # type: ignore[method-assign] - or it is free when b looks for another
            hold.clear()
            frozen.set()
            await late
            assert service.engine.main
            assert service.engine.main.executor.number != lane  # fenced: it went on in another lane
            assert world.head(lane)["tail"] == 1
            assert world.balance("x") == 3
    world.check()


@attack("8 live leases are not stolen")
async def live_leases() -> None:
    world = World()
    async with world.running(instance="a") as a, world.running(instance="b", lease=FAST / 3) as b:
        assert a.engine
        assert b.engine
        b.engine.clock = lambda: 4e9  # a clock that is decades ahead
        before = [world.head(n)["epoch"] for n in (0, 1)]
        for _ in range(40):
            await order(a, Deposit(account="x", amount=1))
            await order(b, Deposit(account="x", amount=1))
            await asyncio.sleep(FAST / 20)
        assert [world.head(n)["epoch"] for n in (0, 1)] == before


@attack("9 hot documents over replicas")
async def hot_documents() -> None:
    world = World()
    seen: list[list[str]] = []

    def watch(verb: str, subject: Any) -> Fault | None:
        if verb == "transact" and RECORD(subject):
            seen.append([o.key for o in subject if o.key.startswith("doc:")])
        return None

    async with world.running(instance="a", faults=watch) as a, world.running(instance="b", faults=watch) as b:
        work = [order(s, Deposit(account=f"hot-{i % 5}", amount=1)) for i in range(150) for s in (a, b)]
        await asyncio.wait_for(asyncio.gather(*work), 20)
        assert sum(world.balance(f"hot-{i}") for i in range(5)) == 300
        assert a.engine
        assert b.engine
        assert a.engine.main
        assert b.engine.main
        assert a.engine.main.executor.conflicts + b.engine.main.executor.conflicts > 0
    assert all(documents == sorted(documents) for documents in seen)  # opposite orders deadlock
    world.check()


@attack("11 dead once, however often delivered")
async def dead_once() -> None:
    world = World()
    event = envelope("Poisonous", {"payment": "p", "account": "a"})
    async with world.running() as service:
        for _ in range(3):
            await service.deliver({"data": event})
        assert world.head()["dead_letters"] == 1
        letter = world.value(keys.dead_letter(0, 1))
        assert letter["open"]
        assert "poison" in letter["reason"]


@attack("11 redriven once")
async def redriven_once() -> None:
    world = World()
    event = envelope("PaymentMade", {"payment": "p", "account": "a", "amount": 3}, version="2.0")
    async with world.running() as service:
        await service.deliver({"data": event})
    letter = keys.dead_letter(0, 1)
    assert "version" in world.value(letter)["reason"]
    newer = make_rules()
    newer.catalogue.add(type("PaymentMade", (PaymentMade,), {"version": "2.0", "__module__": __name__}))
    async with world.running(rules=newer) as service:
        await service.deliver({"data": event})  # the broker brings it again, and now it can be read
        await service.redrive(letter)
        assert world.balance("a") == 3
        assert not world.value(letter)["open"]
        with contextlib.suppress(Conflict):
            await service.redrive(letter)
            raise AssertionError("redriven twice")
    world.check()


@attack("11 a redrive does what the delivery could not")
async def redrive_after_a_fix() -> None:
    world = World()
    event = envelope("Poisonous", {"payment": "p", "account": "a"})
    async with world.running() as service:
        await service.deliver({"data": event})
    fixed = make_rules()
    handler = fixed.events["Poisonous"]
    fixed.events["Poisonous"] = type(handler)(
        handler.message, lambda _d, e, _c: [Deposited(account=e.account, amount=1)], handler.loads, handler.reads
    )
    async with world.running(rules=fixed) as service:
        await service.redrive(keys.dead_letter(0, 1))
        await service.deliver({"data": event})
        assert world.balance("a") == 1
    world.check()


@attack("11 overload delays")
async def overload_delays() -> None:
    world = World()
    async with world.running(queue_items=4) as service:
        events = [envelope("PaymentMade", {"payment": "p", "account": "a", "amount": 1}) for _ in range(60)]
        entries = [{"entryId": e["eventId"], "event": {"data": e}} for e in events]
        done = await asyncio.gather(*(service._entry(e) for e in entries))
        assert {d["status"] for d in done} == {"SUCCESS"}
        assert world.balance("a") == 60


@attack("12 an unknown outcome is asked again")
async def unknown_asked_again() -> None:
    world = World()
    asked: list[str] = []

    async def react(event: Withdrawn, outside: Outside) -> Deposit:
        asked.append(outside.idempotency_key)
        if len(asked) < 3:
            raise Unanswered("the bank did not answer")
        return Deposit(account="paid", amount=event.amount)

    async with world.running(rules=make_rules(react=react)) as service:
        await order(service, Deposit(account="x", amount=5))
        await order(service, Withdraw(account="x", amount=2))
        await until(lambda: world.balance("paid") == 2, 3)
        assert len(asked) == 3
        assert len(set(asked)) == 1


@attack("12 a reaction is repeated after a crash")
async def reaction_repeated() -> None:
    world = World()

    def react(event: Withdrawn, _outside: Outside) -> Deposit:
        return Deposit(account="paid", amount=event.amount)

    reaction = writes(keys.document("account", "paid"))
    crashing = world.service(rules=make_rules(react=react), faults=on_transact(reaction, CRASH_AFTER))

    async def customer() -> None:
        await order(crashing, Deposit(account="x", amount=5))
        await order(crashing, Withdraw(account="x", amount=2))
        await asyncio.Event().wait()

    await dies(crashing, customer())
    assert world.balance("paid") == 2
    async with world.running(rules=make_rules(react=react)) as service:
        await order(service, Withdraw(account="x", amount=1))
        await until(lambda: world.balance("paid") >= 3)
        assert world.balance("paid") == 3
    world.check()


@attack("12 a poisonous call does not block")
async def poisonous_call() -> None:
    world = World()

    def react(event: Withdrawn, _outside: Outside) -> Deposit:
        if event.amount == 1:
            raise ZeroDivisionError("poison")
        return Deposit(account="paid", amount=event.amount)

    async with world.running(rules=make_rules(react=react, reactor_attempts=2)) as service:
        await order(service, Deposit(account="x", amount=9))
        await order(service, Withdraw(account="x", amount=1))
        await order(service, Withdraw(account="x", amount=2))
        await until(lambda: world.balance("paid") == 2, 3)
        await until(lambda: world.head()["dead_letters"] == 1, 3)
        executor = service.engine.main.executor  # type: ignore[union-attr]
        await until(lambda: executor.marks["reactor/react"] == executor.head.tail, 3)


@attack("13 names that break stores")
async def strange_names() -> None:
    world = World()
    names = ["a||b", "nul\0", "x/y", "%7C", "~", "", "ü" * 200, "a:b"]
    async with world.running() as service:
        await asyncio.gather(*(order(service, Deposit(account=n, amount=1)) for n in names))
        assert [world.balance(n) for n in names] == [1] * len(names)
        documents = [k for k in world.store.rows if k.startswith("doc:account")]
        assert len(documents) == len(names)
        assert all(k.isascii() and "\0" not in k and "/" not in k and len(k) < 250 for k in world.store.rows)
    world.check()


@attack("13 digits that get lost")
async def lost_digits() -> None:
    world = World()
    gate = Gate()
    big = envelope("PaymentMade", {"payment": "p", "account": "b", "amount": 2**60})
    async with world.running(faults=gate) as service:
        done = await together(
            service, gate, order(service, Deposit(account="a", amount=2**60)), service.deliver({"data": big}),
            order(service, Deposit(account="c", amount=2**53 - 1)),
        )  # fmt: skip
        assert isinstance(done[0], Invalid)
        assert (world.balance("a"), world.balance("b"), world.balance("c")) == (0, 0, 2**53 - 1)
        assert world.head()["dead_letters"] == 1
    world.check()


@attack("13 an event that is too large")
async def too_large() -> None:
    world = World()
    huge = envelope("PaymentMade", {"payment": "p", "account": "x" * 300_000, "amount": 1})
    async with world.running() as service:
        await asyncio.wait_for(service.deliver({"data": huge}), 3)
        await service.deliver({"data": envelope("PaymentMade", {"payment": "p", "account": "a", "amount": 1})})
        assert (world.balance("a"), world.head()["dead_letters"]) == (1, 1)
        assert "262144" in world.value(keys.dead_letter(0, 1))["reason"]


@attack("13 one that the store refuses")
async def refused_by_the_store() -> None:
    world = World()
    bad = keys.document("account", "bad")
    refuse = on_transact(lambda operations: any(o.key == bad for o in operations), REFUSED, times=100)
    gate = Gate(refuse)
    event = envelope("PaymentMade", {"payment": "p", "account": "bad", "amount": 1})
    async with world.running(faults=gate) as service:
        good = [order(service, Deposit(account=f"good-{i}", amount=1)) for i in range(6)]
        done = await together(service, gate, *good[:3], service.deliver({"data": event}),
                              order(service, Deposit(account="bad", amount=1)), *good[3:])  # fmt: skip
        assert [world.balance(f"good-{i}") for i in range(6)] == [1] * 6
        assert isinstance(done[4], Failed)
        assert world.head()["dead_letters"] == 1
    world.check()


@attack("13 one that cannot even be read")
async def unreadable() -> None:
    world = World()
    bad = keys.document("account", "bad")

    def refuse(verb: str, subject: Any) -> Fault | None:
        return REFUSED if verb == "read" and bad in subject else gate(verb, subject)

    gate = Gate()
    event = envelope("PaymentMade", {"payment": "p", "account": "bad", "amount": 1})
    async with world.running(faults=refuse) as service:
        works = (service.deliver({"data": event}), order(service, Deposit(account="good", amount=1)))
        done = await together(service, gate, *works)
        assert isinstance(done[0], Failed)  # nor can its dead letter: the broker keeps it
        assert world.balance("good") == 1
    world.check()


class _Request:
    """As much of a request as `Service.key` looks at."""

    def __init__(self, key: str) -> None:
        self.headers, self.method = {"idempotency-key": key}, "POST"
        self.scope = {"path": "/place"}


@attack("14 another caller's key")
async def another_callers_key() -> None:
    world = World()
    async with world.running() as service:
        for caller in ("a", "b"):
            key = service.key(_Request("same"), caller=caller, body=b"x")  # type: ignore[arg-type]
            await service.submit(Deposit(account=caller, amount=1), order_reply(caller), key=key)
        assert (world.balance("a"), world.balance("b")) == (1, 1)


def order_reply(name: str) -> Any:
    return Reply(202, {"for": name})


@attack("14 a double click in one batch")
async def double_click() -> None:
    world = World()
    gate = Gate()
    async with world.running(faults=gate) as service:
        clicks = [order(service, Deposit(account="a", amount=1), key="k") for _ in range(2)]
        done = await together(service, gate, *clicks)
        assert [d.status for d in done] == [202, 202]
        assert world.balance("a") == 1
    world.check()


@attack("15 lists do not grow")
async def lists_do_not_grow() -> None:
    world = World()
    async with world.running() as service:
        await asyncio.gather(*(order(service, Deposit(account=f"n{i}", amount=1)) for i in range(250)))
        view = service.rules.views["accounts"]
        await until_async(lambda: service.page(view, "all", 2), lambda rows: len(rows) == 50)
        assert [len(await service.page(view, "all", n)) for n in range(4)] == [100, 100, 50, 0]
        owners = [r.owner for n in range(3) for r in await service.page(view, "all", n)]
        assert len(set(owners)) == 250


async def rebuilt(engine: Engine) -> bool:
    """Try to end it at once: the one who watches the lanes looks only now and then."""
    try:
        return await engine.views.finish_rebuild("accounts", engine.lanes)
    except Conflict:
        return False  # that one was faster


@attack("16 rebuilt while events come")
async def rebuilt_while_live() -> None:
    world = World()
    async with world.running() as service:
        assert service.engine
        view = service.rules.views["accounts"]

        async def rows() -> dict[str, int]:
            return {r.owner: r.balance for r in await service.page(view, "all", 0)}

        for i in range(60):
            await order(service, Deposit(account=f"n{i}", amount=1))
        await until_async(rows, lambda r: len(r) == 60)
        for _ in range(3):
            await service.engine.begin_rebuild("accounts")
            while not await rebuilt(service.engine):
                await order(service, Deposit(account="n0", amount=1))
                assert len(await rows()) == 60
            assert len(await rows()) == 60
        await until_async(rows, lambda r: r["n0"] == world.balance("n0"))
        kept = [k for k in world.store.rows if k.startswith("viewrow:")]
        assert len(kept) == 120  # two slots, nothing leaked


@attack("17 the mark waits for what failed")
async def mark_waits() -> None:
    world = World()
    refused = {"on": True}
    world.broker.refuse = lambda _topic, entry: refused["on"] and entry.event["subject"] == "account/first"
    async with world.running() as service:
        assert service.engine
        assert service.engine.main
        marks = service.engine.main.executor.marks
        await order(service, Deposit(account="first", amount=1))
        await order(service, Deposit(account="second", amount=1))
        await until(lambda: len(world.broker.published.get("bank", [])) == 1)
        await order(service, Deposit(account="third", amount=1))
        await until(lambda: len(world.broker.published.get("bank", [])) == 2)
        assert marks["relay"] == 0
        refused["on"] = False
        await until(lambda: marks["relay"] == 3)
        assert len(world.broker.published["bank"]) == 3


@attack("17 an event that the broker never takes")
async def never_taken() -> None:
    world = World()
    world.broker.refuse = lambda _topic, entry: entry.event["subject"] == "account/bad"
    async with world.running() as service:
        assert service.engine
        assert service.engine.main
        executor = service.engine.main.executor
        await order(service, Deposit(account="bad", amount=1))
        async with asyncio.timeout(8):
            while executor.marks["relay"] < 1:
                await order(service, Deposit(account="good", amount=1))
                await asyncio.sleep(0.01)
        assert world.value(keys.dead_letter(0, 1))["kind"] == "publication"


@attack("20 half a change")
async def half_a_change() -> None:
    world = World()
    gate = Gate()
    async with world.running(faults=gate) as service:
        await order_first(service, gate)
        await order(service, Deposit(account="full", amount=2**53 - 2))
        done = await asyncio.gather(
            order(service, Move(giver="gate", taker="full", amount=1)),
            order(service, Move(giver="gate", taker="full", amount=1)),
            order(service, Deposit(account="other", amount=1)),
            return_exceptions=True,
        )
        assert isinstance(done[1], Invalid)  # it took the money, then could not give it
        assert (world.balance("gate"), world.balance("full")) == (9, 2**53 - 1)
    world.check()


async def order_first(service: Service, gate: Gate) -> None:
    gate.open.set()
    await order(service, Deposit(account="gate", amount=10))


@attack("21 a message that ends the process")
async def crash_loop() -> None:
    world = World()
    poison = envelope("PaymentMade", {"payment": "p", "account": "bad", "amount": 1}, event_id="poison")
    good = envelope("PaymentMade", {"payment": "q", "account": "good", "amount": 1}, event_id="good")

    def kills(operations: Sequence[Operation]) -> bool:
        return any(isinstance(o, Put) and o.key == keys.inbox("poison") and o.value == 1 for o in operations)

    for _ in range(5):
        service = world.service(faults=on_transact(kills, CRASH_BEFORE, times=99))
        await dies(service, *(service.deliver({"data": e}) for e in (good, poison)))
    assert world.balance("good") == 1
    assert world.value(keys.inbox("poison")) == {"dead": keys.dead_letter(0, 1)}
    world.check()


@attack("22 replicas probe side by side")
async def probes_side_by_side() -> None:
    world = World()
    sidecars = [MemorySidecar(world.store, world.broker) for _ in range(6)]
    await asyncio.gather(*(probe(s) for s in sidecars))
    assert world.store.rows == {}


@attack("22 a store without rollback is refused")
async def no_rollback() -> None:
    class Torn(MemoryStore):
        def apply(self, operations: Sequence[Operation], now: float) -> None:
            for each in operations:  # like Redis: what fits is applied, the rest is an error
                super().apply([each], now)

    class Upserting(MemoryStore):
        def apply(self, operations: Sequence[Operation], now: float) -> None:
            super().apply([Put(o.key, o.value, o.etag) if isinstance(o, Put) else o for o in operations], now)

    for store in (Torn(), Upserting()):
        try:
            await probe(MemorySidecar(store, World().broker))
        except StoreUnfit as unfit:
            assert "PostgreSQL" in str(unfit)  # noqa: PT017 - the message is what is under test
        else:
            raise AssertionError(f"{type(store).__name__} was accepted")


__all__ = ["ATTACKS", "Close", "Iterator", "PriceChanged", "SidecarError"]
