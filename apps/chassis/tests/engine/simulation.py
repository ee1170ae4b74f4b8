"""Two replicas of the bank in virtual time, the clients and the broker that insist, and what must be true afterwards.

Nothing here decides what goes wrong: the state machine does, by arming faults, pausing, killing and restarting.
"""

import asyncio
import contextvars
import copy
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bank import (
    Account,
    Blow,
    Close,
    Closed,
    Deposit,
    Deposited,
    Move,
    Overdrawn,
    Withdraw,
    Withdrawn,
    make_rules,
)  # fmt: skip
from virtual_time import VirtualLoop
from world import World, envelope, order

from chassis import keys
from chassis.engine import Engine
from chassis.envelope import Command, Event
from chassis.followers import Reaction
from chassis.problems import Conflict, Failed, KeyReused, OutcomeUnknown, Problem, Unprocessed
from chassis.process import Settings
from chassis.rules import Context, Documents, Outside, Ref, Rules
from chassis.service import Service
from chassis.sidecar import Answer, SidecarError
from chassis.work import Redrive, Reply
from chassis_testing.faults import (
    CRASH_AFTER,
    CRASH_BEFORE,
    DROPPED,
    LATE,
    LOST_ANSWER,
    MISMATCH,
    REFUSED,
    UNREACHABLE,
    Crashed,
    Fault,
    Verb,
)  # fmt: skip
from chassis_testing.memory import MemorySidecar

LEASE = 3.0
ANSWER_WITHIN = 1.0
PATIENCE = 1.5  # of a client, before it asks elsewhere: longer than a replica keeps it waiting
ACK_WITHIN = 4.0  # of the broker, before it brings an event to somebody else
AGAIN = 0.2
RESTART_AFTER = 0.8
QUIET_WITHIN = 400.0
SKEW = {"a": 0.0, "b": 0.7}  # of the wall clocks
PROCESS: "contextvars.ContextVar[Process | None]" = contextvars.ContextVar("process", default=None)


class Split(Command):
    """Succeeds half-way: the second of its events cannot be stored."""

    account: str
    other: str
    amount: int


class Peek(Command):
    """Leaves a fact that stays in the journal."""

    account: str


def rules() -> Rules:
    """The bank, with a reactor that looks at the outside, a deadline, a half-way failure and a private fact."""
    made = make_rules(react=_react)

    def account(name: str) -> Ref[Account]:
        return Ref("account", name)

    @made.command(Split, loads=lambda c: [account(c.account), account(c.other)])
    def split(_docs: Documents, command: Split, _context: Context) -> Sequence[Event]:
        first = Deposited(account=command.account, amount=command.amount)
        return [first, Deposited(account=command.other, amount=2**60)]

    @made.command(Peek, loads=lambda c: [account(c.account)])
    def peek(_docs: Documents, command: Peek, _context: Context) -> Sequence[Event]:
        return [Overdrawn(account=command.account)]

    made.reactor("expire", Closed, after=2.0)(_expire)
    return made


async def _react(_event: Withdrawn, outside: Outside) -> Command:
    await outside.invoke("office", "note")
    return Deposit(account="tax", amount=1)


def _expire(_event: Closed, _outside: Outside) -> Command:
    return Deposit(account="expired", amount=1)


REACTORS = {r.event.event_type: Reaction(r, None, None).name for r in rules().reactors.values()}  # type: ignore[arg-type]
EFFECTS: dict[type[Command], list[str]] = {
    Deposit: ["Deposited"], Withdraw: ["Withdrawn"], Move: ["Withdrawn", "Deposited"], Peek: ["Overdrawn"],
}  # fmt: skip
NEVER = (Blow, Split)


@dataclass(slots=True)
class Order:
    """A client's wish, and what it was told in the end."""

    key: str
    command: Command
    route: tuple[str, ...]
    insists: bool  # until the answer is definite
    answer: Reply | Problem | None = None

    @property
    def id(self) -> str:
        return f"command/{self.key}"


@dataclass(slots=True)
class Post:
    """A foreign event, for the broker to deliver until it is settled."""

    id: str
    data: dict[str, Any]
    settled: bool = False
    touched: bool = False


@dataclass(slots=True)
class Armed:
    """A fault for one of the next calls."""

    verb: Verb
    skip: int
    fault: Fault


FAULTS: dict[Verb, list[Fault]] = {
    "transact": [LOST_ANSWER, LOST_ANSWER, LATE, LATE, LATE, DROPPED, REFUSED, UNREACHABLE, MISMATCH],
    "read": [UNREACHABLE, DROPPED],
    "publish": [UNREACHABLE, LOST_ANSWER, LATE, DROPPED, REFUSED],
    "invoke": [UNREACHABLE, DROPPED, LOST_ANSWER],
}
CRASHES: dict[Verb, list[Fault]] = {
    "transact": [CRASH_BEFORE, CRASH_AFTER, CRASH_AFTER],
    "read": [CRASH_BEFORE],
    "publish": [CRASH_BEFORE, CRASH_AFTER],
    "invoke": [CRASH_AFTER],
}


class Weather:
    """Faults that strike by themselves, the same ones for the same seed."""

    def __init__(self, seed: int, percent: int, crash_percent: int) -> None:
        self.random, self.percent, self.crash_percent = random.Random(seed), percent, crash_percent

    def strike(self, verb: Verb) -> Fault | None:
        dice = self.random.randrange(100)
        if dice < self.crash_percent:
            return self.random.choice(CRASHES.get(verb, [Fault()]))
        if dice < self.crash_percent + self.percent:
            return self.random.choice(FAULTS.get(verb, [Fault()]))
        return None


class Process:
    """One replica's process: everything it ever started can be ended at once, as a kill does."""

    def __init__(self, sim: "Simulation", name: str) -> None:
        self.sim, self.name = sim, name
        self.alive, self.leaving = True, False
        self.gate = asyncio.Event()
        self.gate.set()
        self.stalls: list[asyncio.Event] = []
        self.armed: list[Armed] = []
        self.weather: Weather | None = None
        self.tasks: set[asyncio.Task[Any]] = set()
        self.sidecar = _Mortal(self)
        settings = Settings(
            instance=name, lease=LEASE, answer_within=ANSWER_WITHIN, drain_within=2.0, careful_for=4.0, queue_items=64
        )
        self.service = Service("bank", rules(), settings=settings, sidecar=self.sidecar)
        loop = sim.loop
        self.engine = self.service.engine = Engine(
            "bank", self.service.rules, self.sidecar, settings, clock=lambda: loop.time() + SKEW[name]
        )
        self.life = self.spawn(self.engine.run())

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        context = contextvars.copy_context()
        context.run(PROCESS.set, self)
        return self.sim.loop.create_task(work, context=context)

    def die(self) -> None:
        if self.alive and self.sim.supervised:
            self.sim.loop.call_later(RESTART_AFTER, self.sim.restart, self.name)
        self.alive, self.sidecar.crashed = False, True
        for task in list(self.tasks):
            task.cancel()

    def stall(self) -> asyncio.Event:
        """Make what a call waits for until the thaw."""
        self.stalls.append(asyncio.Event())
        return self.stalls[-1]

    def thaw(self) -> None:
        self.gate.set()
        for stall in self.stalls:
            stall.set()

    def heal(self) -> None:
        self.armed.clear()
        self.weather = None
        self.thaw()

    def fault(self, verb: Verb, subject: Any) -> Fault | None:
        fault = self._next(verb)
        self.sim.trace.append((self.sim.loop.time(), self.name, verb, subject, fault))
        if not self.gate.is_set():
            return replace(fault or Fault(), before=self.gate)
        return fault

    def _next(self, verb: Verb) -> Fault | None:
        armed = next((a for a in self.armed if a.verb == verb), None)
        if armed and armed.skip:
            armed.skip -= 1
        elif armed:
            self.armed.remove(armed)
            return armed.fault
        return self.weather.strike(verb) if self.weather else None

    async def leave(self) -> None:
        """End as on SIGTERM."""
        await self.engine.drain()
        if self.alive:
            self.die()


class _Mortal(MemorySidecar):
    """Its process ends with it."""

    def __init__(self, process: Process) -> None:
        sim = process.sim
        super().__init__(
            sim.world.store, sim.world.broker, faults=process.fault, clock=sim.loop.time, apps={"office": sim.office}
        )
        self.process = process

    async def _leave(self, fault: Fault) -> None:
        try:
            await super()._leave(fault)
        except Crashed:
            self.process.sim.loop.call_soon(self.process.die)
            raise


@dataclass(slots=True)
class Simulation:
    """Processes by name, orders, events; `run` lets virtual time pass."""

    loop: VirtualLoop = field(default_factory=VirtualLoop)
    world: World = field(default_factory=World)
    processes: dict[str, Process] = field(default_factory=dict)
    orders: list[Order] = field(default_factory=list)
    posts: list[Post] = field(default_factory=list)
    trace: list[tuple[float, str, str, Any, Any]] = field(default_factory=list)
    noted: set[str] = field(default_factory=set)
    errors: list[str] = field(default_factory=list)
    tails: dict[int, int] = field(default_factory=dict)
    prices: int = 0
    supervised: bool = False  # the dead are restarted by themselves
    _pending: set[asyncio.Task[Any]] = field(default_factory=set)

    def __post_init__(self) -> None:
        logging.getLogger("chassis").setLevel(logging.CRITICAL + 1)
        self.world.now = 0.0  # for `value`: nothing has expired
        self.loop.set_task_factory(_owned)  # type: ignore[arg-type] - typeshed has no context there
        self.loop.set_exception_handler(self._unhandled)
        for name in SKEW:
            self.processes[name] = Process(self, name)
        self.wait(1.0)

    # what the machine does

    def wait(self, seconds: float) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))

    def turn(self, times: int) -> None:
        """Let the loop turn: a call to a sidecar takes two turns and no time."""
        self.loop.run_until_complete(_turns(times))

    def order(self, command: Command, route: tuple[str, ...], *, insists: bool = True) -> None:
        made = Order(f"k{len(self.orders)}", command, route, insists)
        self.orders.append(made)
        self._start(self._insist(made))

    def post(self, kind: str, payload: dict[str, Any], **more: Any) -> Post:
        name = f"event-{len(self.posts)}"
        made = Post(name, envelope(kind, payload, name, **more))
        self.posts.append(made)
        return made

    def price(self) -> Post:
        self.prices += 1
        return self.post("PriceChanged", {"sku": "s", "amount": 10 * self.prices}, revision=self.prices)

    def deliver(self, post: Post, *routes: tuple[str, ...]) -> None:
        post.touched = True
        for route in routes:
            self._start(self._bring(post, route))

    def redrive(self, letter: str, route: tuple[str, ...]) -> None:
        self._start(self._redrive(letter, route))

    def rebuild(self, name: str) -> None:
        if self.processes[name].alive:
            self.processes[name].spawn(_quietly(self.processes[name].engine.rebuild("accounts")))

    def land(self, index: int) -> None:
        """Let one of the late calls happen."""
        parked = self.world.store.parked
        if parked:
            late = parked.pop(index % len(parked))
            try:
                late()
            except SidecarError:
                return

    def crash(self, name: str) -> None:
        self.processes[name].die()

    def leave(self, name: str) -> None:
        process = self.processes[name]
        if process.alive and not process.leaving:
            process.leaving = True
            process.spawn(process.leave())

    def restart(self, name: str) -> None:
        if not self.processes[name].alive:
            self.processes[name] = Process(self, name)

    def ask(self, service: Service, command: Command, key: str, body: bytes = b"body") -> Reply | Problem:
        """Ask once and wait."""
        try:
            return self.loop.run_until_complete(_awaited(order(service, command, key, body)))
        except Problem as problem:
            return problem

    async def office(self, _method: str, _body: Any, _query: Any, headers: Any, _verb: str) -> Answer:
        """Stand in for what is outside: calls come at least once, under their idempotency key."""
        self.noted.add(headers["idempotency-key"])
        return Answer(200, b"null")

    # those who insist

    def _start(self, work: Coroutine[Any, Any, Any]) -> None:
        task = self.loop.create_task(work)
        self._pending.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: "asyncio.Task[Any]") -> None:
        self._pending.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self.errors.append(f"{type(error).__name__}: {error}")

    async def _ask(
        self, make: Callable[[Process], Coroutine[Any, Any, Any]], route: tuple[str, ...], within: float
    ) -> Any:
        """Ask the first live replica of the route; `Cut` where no answer came."""
        process = next((p for n in route if (p := self.processes[n]).alive), None)
        if process is None:
            await asyncio.sleep(AGAIN)
            return Cut()
        request = process.spawn(make(process))
        done, _ = await asyncio.wait({request}, timeout=within)
        if not done or request.cancelled():
            await asyncio.sleep(AGAIN)
            return Cut()
        return request.exception() or request.result()

    async def _insist(self, order_: Order) -> None:
        route = order_.route
        for attempt in range(1_000_000):
            reply = Reply(202, {"attempt": attempt})
            answer = await self._ask(
                lambda p, r=reply: _awaited(order(p.service, order_.command, order_.key, b"body", r)), route, PATIENCE
            )
            order_.answer = answer
            if not isinstance(answer, Cut | Unprocessed | OutcomeUnknown):
                break
            if not order_.insists:
                return
            route = (*route[1:], route[0])
            await asyncio.sleep(AGAIN)
        told = order_.answer
        assert isinstance(told, Reply | Problem), f"{order_.id} ended with {told!r}"
        marked = self.world.value(keys.inbox(order_.id)) is not None
        assert marked == isinstance(told, Reply), f"{order_.id} was told {told!r}; its mark is stored: {marked}"

    async def _bring(self, post: Post, route: tuple[str, ...]) -> None:
        while True:
            answer = await self._ask(lambda p: p.service.deliver({"data": copy.deepcopy(post.data)}), route, ACK_WITHIN)
            if answer is None:
                break
            assert isinstance(answer, Cut | Problem), f"{post.id} ended with {answer!r}"
            route = (*route[1:], route[0])
            await asyncio.sleep(AGAIN)
        post.settled = True
        unread = post.data["payload"] == {}
        assert unread or self.world.value(keys.inbox(post.id)) is not None, f"{post.id} is settled and has no mark"

    async def _redrive(self, letter: str, route: tuple[str, ...]) -> None:
        message = self.world.value(letter)["message"]
        while True:
            answer = await self._ask(
                lambda p: p.engine.submit(Redrive(letter, p.service.message(message)), 100), route, PATIENCE
            )
            if not isinstance(answer, Cut | Unprocessed | OutcomeUnknown):
                break
            route = (*route[1:], route[0])
            await asyncio.sleep(AGAIN)
        right = answer is None or isinstance(answer, Conflict | Failed | ZeroDivisionError)
        assert right, f"a redrive ended with {answer!r}"

    # what must always be true

    def lanes(self) -> dict[int, dict[str, Any]]:
        directory = self.world.value(keys.LANES)
        numbers = range(directory["lanes"] if directory else 0)
        return {n: head for n in numbers if (head := self.world.head(n))}

    def check_heads(self) -> None:
        assert not self.errors, self.errors
        for number, head in self.lanes().items():
            marks = {"relay": head["published"], **head["followers"]}
            beyond = {name: mark for name, mark in marks.items() if mark > head["tail"]}
            assert not beyond, f"lane {number} ends at {head['tail']}, but {beyond}"
            assert head["tail"] >= self.tails.get(number, 0), f"lane {number} lost records"
            self.tails[number] = head["tail"]
        for process in self.processes.values():
            self._check_life(process)

    @staticmethod
    def _check_life(process: Process) -> None:
        ended = process.life.done() and not process.sidecar.crashed and not process.leaving
        assert not ended, f"process {process.name} ended by itself: {process.life!r}"

    # the end

    def finish(self) -> None:
        """Repair everything, let it all run until quiet, and judge."""
        self.world.broker.refuse = lambda _topic, _entry: False
        for process in self.processes.values():
            process.heal()
        self.wait(3 * 2.0)  # who is leaving leaves
        self.supervised = False
        for name, process in self.processes.items():
            if process.leaving:
                process.die()
            self.restart(name)
        while self.world.store.parked:
            self.land(0)
        for post in self.posts:
            if not post.settled:
                self.deliver(post, ("a", "b"))
        deadline = self.loop.time() + QUIET_WITHIN
        while unrest := self._unrest():
            self.check_heads()
            assert self.loop.time() < deadline, f"not quiet: {unrest}"
            self.wait(0.5)
        self.check_heads()
        Verdict(self).check()

    def _unrest(self) -> list[str]:
        if self._pending:
            return [f"{len(self._pending)} wait for an answer: {[o for o in self.orders if not o.answer]}"]
        if starting := [name for name, p in self.processes.items() if p.engine.main is None]:
            return [f"{starting} do not serve: {[self.processes[n].engine.reason for n in starting]}"]
        pointer = self.world.value("view:accounts")
        active = pointer["active"] if pointer else 0
        names = ("relay", *REACTORS.values(), f"view/accounts/{active}")
        reasons = []
        for number, head in self.lanes().items():
            marks = {"relay": head["published"], **head["followers"]}
            behind = {n: marks.get(n) for n in names if marks.get(n, 0) < head["tail"]}
            if behind:
                reasons.append(f"lane {number} (tail {head['tail']}, owner {head['owner']}): {behind}")
            holders = [p.name for p in self.processes.values() if number in p.engine.running]
            if holders != ([head["owner"]] if head["owner"] else []):
                reasons.append(f"lane {number} is owned by {head['owner']} and run by {holders}")
        return reasons

    def close(self) -> None:
        self.supervised = False
        for process in self.processes.values():
            process.die()
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        while left := asyncio.all_tasks(self.loop):
            self.loop.run_until_complete(asyncio.wait(left))
        self.loop.close()
        logging.getLogger("chassis").setLevel(logging.NOTSET)

    def story(self) -> str:
        """Every call to a sidecar, for whoever reads a failing example."""
        return "\n".join(
            f"{at:8.3f} {who} {verb:8} {_brief(verb, subject)} {fault or ''}"
            for at, who, verb, subject, fault in self.trace
        )

    def _unhandled(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, Crashed | BaseExceptionGroup | SidecarError | Problem):
            self.errors.append(f"{context.get('message')}: {error!r}")


class Cut(Exception):
    """The connection ended without an answer."""


@dataclass(slots=True)
class Verdict:
    """The judgement of a quiet store."""

    sim: Simulation

    def check(self) -> None:
        world = self.sim.world
        world.check()
        facts = world.events()
        caused: dict[str, list[dict[str, Any]]] = {}
        for fact in facts:
            caused.setdefault(fact["causationId"], []).append(fact)
        letters = self._letters()
        for each in self.sim.orders:
            self._order(each, caused.pop(each.id, []))
        for post in self.sim.posts:
            self._post(post, caused.pop(post.id, []), letters.get(post.id, []))
        for fact in facts:
            self._reaction(fact, caused, letters)
        assert not caused, f"effects that nobody asked for: {caused}"
        self._published(facts, letters)
        self._prices()
        self._view(facts)
        self._again()

    def _letters(self) -> dict[str, list[dict[str, Any]]]:
        letters: dict[str, list[dict[str, Any]]] = {}
        for lane, head in self.sim.lanes().items():
            for number in range(1, head["dead_letters"] + 1):
                letter = self.sim.world.value(keys.dead_letter(lane, number))
                assert letter, f"dead letter {number} of lane {lane} is missing"
                letters.setdefault(letter["id"], []).append(letter)
        return letters

    @staticmethod
    def _order(order_: Order, effect: list[dict[str, Any]]) -> None:
        names = [e["eventType"] for e in effect]
        told = order_.answer
        assert len({e["origin"].partition("#")[0] for e in effect}) <= 1, f"{order_.id} is in several records"
        expected = EFFECTS.get(type(order_.command), [])
        if isinstance(told, Reply):
            right = names in ([], ["Closed"]) if isinstance(order_.command, Close) else names == expected
            assert right, f"{order_.id} was acknowledged and did {names}"
        elif isinstance(told, OutcomeUnknown | Cut):
            assert names in ([], expected, ["Closed"]), f"{order_.id} did {names}"
        else:
            assert not names, f"{order_.id} was told {told!r} and did {names}"
        assert not isinstance(order_.command, NEVER) or not names, f"{order_.id} left half of itself: {names}"

    def _post(self, post: Post, effect: list[dict[str, Any]], letters: list[dict[str, Any]]) -> None:
        names = [e["eventType"] for e in effect]
        if post.data["payload"] == {}:
            return
        mark = self.sim.world.value(keys.inbox(post.id))
        assert len(letters) <= 1, f"{post.id} has {len(letters)} letters"
        kind = post.data["eventType"]
        if mark != 1:
            assert letters, f"{post.id} is neither handled nor dead: {mark}"
            assert letters[0]["open"], f"{post.id} is dead and its letter is closed"
            assert not names, f"{post.id} is dead and did {names}"
            return
        assert not any(letter["open"] for letter in letters), f"{post.id} is handled and has a letter"
        right: dict[str, tuple[list[str], ...]] = {
            "PaymentMade": (["Deposited"],), "AccountFrozen": ([], ["Closed"]), "PriceChanged": ([],),
        }  # fmt: skip
        assert names in right[kind], f"{post.id} ({kind}) did {names}"

    def _reaction(self, fact: dict[str, Any], caused: dict[str, Any], letters: dict[str, Any]) -> None:
        reactor = REACTORS.get(fact["eventType"])
        if reactor is None:
            return
        name = f"{reactor}/{fact['eventId']}"
        effect, dead = caused.pop(name, []), letters.get(name, [])
        assert len(effect) + len(dead) == 1, f"{name}: {len(effect)} effects, {len(dead)} letters"
        assert reactor != "reactor/react" or dead or name in self.sim.noted, f"{name} never looked outside"

    def _published(self, facts: list[dict[str, Any]], letters: dict[str, Any]) -> None:
        sent = {e["eventId"]: e for e in self.sim.world.broker.published.get("bank", [])}
        for fact in facts:
            name = fact["eventId"]
            if fact.get("private"):
                assert name not in sent, "a private fact was published"
            elif f"publication/{name}" not in letters:
                assert sent.get(name) == fact, f"{fact['origin']} was published as {sent.get(name)}"
        ghosts = sent.keys() - {fact["eventId"] for fact in facts}
        assert not ghosts, f"published and not in the journal: {ghosts}"

    def _prices(self) -> None:
        handled = [
            p.data["revision"] for p in self.sim.posts
            if p.data["eventType"] == "PriceChanged" and self.sim.world.value(keys.inbox(p.id)) == 1
        ]  # fmt: skip
        best = max(handled, default=0)
        stored = self.sim.world.value(keys.document("price", "s"))
        assert (stored["state"] if stored else None) == ({"amount": 10 * best} if best else None), (
            f"{stored}, not {best}"
        )

    def _view(self, facts: list[dict[str, Any]]) -> None:
        expected: dict[str, int] = {}
        for fact in facts:
            if fact["eventType"] in {"Deposited", "Withdrawn"}:
                account, amount = fact["payload"]["account"], fact["payload"]["amount"]
                sign = 1 if fact["eventType"] == "Deposited" else -1
                expected[account] = expected.get(account, 0) + sign * amount
        service = self.sim.processes["a"].service
        rows = self.sim.loop.run_until_complete(service.page(service.rules.views["accounts"], "all", 0))
        assert len(rows) == len({row.owner for row in rows}), "a row is listed twice"
        assert {row.owner: row.balance for row in rows} == expected, "the view is not the fold"

    def _again(self) -> None:
        """Whoever asks again gets the same answer; whoever uses the key for something else is told so."""
        service = self.sim.processes["a"].service
        before = len(self.sim.world.events())
        for each in [o for o in self.sim.orders if isinstance(o.answer, Reply)][:5]:
            again = self.sim.ask(service, each.command, each.key)
            assert again == each.answer, f"{each.id}: {again!r} and not {each.answer}"
            other = self.sim.ask(service, each.command, each.key, b"other")
            assert isinstance(other, KeyReused), f"{each.id}: its key was used twice: {other!r}"
        assert len(self.sim.world.events()) == before, "asking again did something"


async def _turns(times: int) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


async def _awaited(answer: Awaitable[Reply]) -> Reply:
    return await answer


async def _quietly(work: Coroutine[Any, Any, Any]) -> None:
    try:
        await work
    except (Problem, SidecarError):
        return  # an operator would ask again


def _owned(
    loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], context: contextvars.Context | None = None
) -> asyncio.Task[Any]:
    """Make a task and enter it in the process whose code made it."""
    task = asyncio.Task(work, loop=loop, context=context)
    process = context.get(PROCESS) if context else PROCESS.get()
    if process is not None:
        process.tasks.add(task)
        task.add_done_callback(process.tasks.discard)
        if not process.alive:
            task.cancel()
    return task


def _brief(verb: str, subject: Any) -> str:
    match verb:
        case "transact":
            return " ".join(operation.key for operation in subject)[:300]
        case "publish":
            return " ".join(entry.event["origin"] for entry in subject[1])[:200]
        case "read":
            return " ".join(subject)[:200]
    return str(subject or "")
