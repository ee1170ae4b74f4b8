"""Two replicas of the bank in virtual time, and the clients and the broker that insist.

Nothing here decides what goes wrong: whoever holds it does, by arming faults, pausing, killing and restarting.
"""

import asyncio
import copy
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from accounts import Buy
from ledger import REACTORS
from replica import Process
from verdict import Cut, Verdict
from world import World, envelope, order

from chassis import keys
from chassis.envelope import Command
from chassis.problems import Conflict, Failed, OutcomeUnknown, Problem, Unprocessed
from chassis.service import Service
from chassis.sidecar import Answer, Refused, SidecarError
from chassis.work import Redrive, Reply
from chassis_testing.faults import Crashed
from chassis_testing.mortal import owned
from chassis_testing.virtual_time import VirtualLoop

PATIENCE = 1.5  # of a client, before it asks elsewhere: longer than a replica keeps it waiting
ACK_WITHIN = 4.0  # of the broker, before it brings an event to somebody else
AGAIN = 0.2
QUIET_WITHIN = 400.0
LEAVES_WITHIN = 6.0
SKEW = {"a": 0.0, "b": 0.7}  # of the wall clocks
Route = tuple[str, ...]


@dataclass(slots=True)
class Order:
    """A client's wish, and what it was told in the end."""

    key: str
    command: Command
    route: Route
    insists: bool  # until the answer is definite
    answer: Reply | Problem | Cut | None = None

    @property
    def id(self) -> str:
        return f"command/{self.key}"


@dataclass(slots=True)
class Post:
    """A foreign event, for the broker to deliver until it is settled."""

    id: str
    data: dict[str, Any]
    settled: bool = False

    @property
    def unreadable(self) -> bool:
        return not self.data["payload"]


@dataclass(slots=True)
class Simulation:
    """Processes by name, orders, events; `wait` and `turn` let them go on."""

    loop: VirtualLoop = field(default_factory=VirtualLoop)
    world: World = field(default_factory=World)
    processes: dict[str, Process] = field(default_factory=dict)
    orders: list[Order] = field(default_factory=list)
    posts: list[Post] = field(default_factory=list)
    prices: list[int] = field(default_factory=list)
    trace: list[tuple[float, str, str, Any, Any]] = field(default_factory=list)
    noted: set[str] = field(default_factory=set)
    errors: list[str] = field(default_factory=list)
    tails: dict[int, int] = field(default_factory=dict)
    supervised: bool = False  # the dead are restarted by themselves
    renamed: bool = False  # whoever is restarted has a new instance name
    fixed: bool = False  # the bug that `Cursed` meets
    _starts: int = 0
    _pending: set[asyncio.Task[Any]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.world.now = 0.0  # for `value`: nothing has expired
        logging.getLogger("chassis").setLevel(logging.CRITICAL + 1)
        self.loop.set_task_factory(owned)  # type: ignore[arg-type] - typeshed has no context there
        self.loop.set_exception_handler(self._unhandled)
        for name in SKEW:
            self.processes[name] = Process(self, name, name)
        self.wait(1.0)

    # time

    def wait(self, seconds: float) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))

    def turn(self, times: int) -> None:
        """Let the loop turn: a call to a sidecar takes two turns and no time."""
        self.loop.run_until_complete(_turns(times))

    @staticmethod
    def skew(name: str) -> float:
        return SKEW[name]

    # what comes in

    def order(self, command: Command, route: Route, *, insists: bool = True) -> None:
        made = Order(f"k{len(self.orders)}", command, route, insists)
        self.orders.append(made)
        self._start(self._insist(made))

    def buy_once(self, route: Route) -> None:
        """Ask without a key, for an account that nobody else names."""
        made = Order("", Buy(account=f"once{len(self.orders)}", sku="s", limit=5), route, insists=False)
        self.orders.append(made)
        self._start(self._insist(made))

    def ask(self, name: str, command: Command, key: str, body: bytes = b"body") -> Reply | Problem:
        """Ask once and wait."""
        try:
            return self.loop.run_until_complete(_order(self.processes[name].service, command, key, body))
        except Problem as problem:
            return problem

    def post(self, kind: str, payload: dict[str, Any], **more: Any) -> Post:
        name = f"event-{len(self.posts)}"
        made = Post(name, envelope(kind, payload, name, **more))
        self.posts.append(made)
        return made

    def price(self, amount: int) -> Post:
        self.prices.append(amount)
        return self.post("PriceChanged", {"sku": "s", "amount": amount}, revision=len(self.prices))

    def deliver(self, post: Post, *routes: Route) -> None:
        for route in routes:
            self._start(self._bring(post, route))

    def redrive(self, letter: str, *routes: Route) -> None:
        for route in routes:
            self._start(self._redrive(letter, route))

    def rebuild(self, name: str) -> None:
        process = self.processes[name]
        if process.alive:
            process.spawn(_quietly(process.engine.begin_rebuild))

    async def office(self, _method: str, _body: Any, _query: Any, headers: Any, _verb: str) -> Answer:
        """Stand in for what is outside: calls come at least once, under their idempotency key."""
        self.noted.add(headers["idempotency-key"])
        return Answer(200, b"null")

    # what happens to processes and calls

    def land(self, index: int) -> None:
        """Let one of the late calls happen."""
        parked = self.world.store.parked
        if parked:
            self.land_this(parked[index % len(parked)])

    def land_this(self, late: Callable[[], object]) -> None:
        if late in self.world.store.parked:
            self.world.store.parked.remove(late)
            try:
                late()
            except SidecarError:
                return

    def leave(self, name: str) -> None:
        process = self.processes[name]
        if process.alive and not process.leaving:
            process.leaving = True
            process.spawn(process.leave())

    def restart(self, name: str) -> None:
        old = self.processes[name]
        if not old.alive:
            self._starts += 1
            new = self.processes[name] = Process(self, name, f"{name}{self._starts}" if self.renamed else old.instance)
            new.weather = old.weather

    # those who insist

    def _start(self, work: Coroutine[Any, Any, Any]) -> None:
        task = self.loop.create_task(work)
        self._pending.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: "asyncio.Task[Any]") -> None:
        self._pending.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self.errors.append(f"{type(error).__name__}: {error}")

    async def _ask(self, make: Callable[[Process], Coroutine[Any, Any, Any]], route: Route, within: float) -> Any:
        """Ask the first live replica of the route; `Cut` where no answer came."""
        process = next((p for n in route if (p := self.processes[n]).alive), None)
        if process is None:
            return Cut()
        request = process.spawn(make(process))
        done, _ = await asyncio.wait({request}, timeout=within)
        if not done or request.cancelled():
            return Cut()
        return request.exception() or request.result()

    async def _insist(self, order: Order) -> None:
        route, attempt = order.route, 0
        while True:
            reply = Reply(202, {"attempt": attempt})
            order.answer = await self._ask(
                lambda p, r=reply: _order(p.service, order.command, order.key, b"body", r), route, PATIENCE
            )
            if not isinstance(order.answer, Cut | Unprocessed | OutcomeUnknown):
                break
            if not order.insists:
                return
            route, attempt = (*route[1:], route[0]), attempt + 1
            await asyncio.sleep(AGAIN)
        told = order.answer
        assert isinstance(told, Reply | Problem), f"{order.id} ended with {told!r}"
        mark = self.world.value(keys.inbox(order.id))
        marked = mark is not None and "refused" not in mark
        right = marked == isinstance(told, Reply) or not order.key
        assert right, f"{order.id} was told {told!r}; its mark is stored: {marked}"

    async def _bring(self, post: Post, route: Route) -> None:
        while True:
            answer = await self._ask(lambda p: p.service.deliver({"data": copy.deepcopy(post.data)}), route, ACK_WITHIN)
            if answer is None:
                break
            assert isinstance(answer, Cut | Problem), f"{post.id} ended with {answer!r}"
            route = (*route[1:], route[0])
            await asyncio.sleep(AGAIN)
        post.settled = True
        marked = post.unreadable or self.world.value(keys.inbox(post.id)) is not None
        assert marked, f"{post.id} is settled and has no mark"

    async def _redrive(self, letter: str, route: Route) -> None:
        message = self.world.value(letter)["message"]
        while True:
            answer = await self._ask(
                lambda p: p.engine.submit(Redrive(letter, p.service.message(message)), 100), route, PATIENCE
            )
            if not isinstance(answer, Cut | Unprocessed | OutcomeUnknown):
                break
            route = (*route[1:], route[0])
            await asyncio.sleep(AGAIN)
        right = answer is None or isinstance(answer, Conflict | Failed | Refused | ZeroDivisionError)
        assert right, f"a redrive ended with {answer!r}"

    # what must always be true

    def lanes(self) -> dict[int, dict[str, Any]]:
        directory = self.world.value(keys.LANES)
        numbers = range(directory["lanes"] if directory else 0)
        return {n: head for n in numbers if (head := self.world.head(n))}

    def letters(self) -> list[str]:
        """Events that can be read and were put aside."""
        heads = self.lanes().items()
        names = [keys.dead_letter(lane, n) for lane, head in heads for n in range(1, head["dead_letters"] + 1)]
        return [n for n in names if (v := self.world.value(n)) and v["kind"] == "event" and v["message"]["payload"]]

    def check_heads(self) -> None:
        assert not self.errors, self.errors
        for number, head in self.lanes().items():
            marks = {"relay": head["published"], **head["followers"]}
            beyond = {name: mark for name, mark in marks.items() if mark > head["tail"]}
            assert not beyond, f"lane {number} ends at {head['tail']}, but {beyond}"
            assert head["tail"] >= self.tails.get(number, 0), f"lane {number} lost records"
            self.tails[number] = head["tail"]
        for process in self.processes.values():
            ended = process.life.done() and not process.sidecar.crashed and not process.leaving
            assert not ended, f"process {process.name} ended by itself: {process.life!r}"

    # the end

    def finish(self) -> None:
        """Repair everything, let it all run until quiet, and judge."""
        self.world.broker.refuse = lambda _topic, _entry: False
        for process in self.processes.values():
            process.heal()
        self.wait(LEAVES_WITHIN)
        self.supervised = False
        for name, process in self.processes.items():
            if process.leaving:
                process.die()
            self.restart(name)
            self.processes[name].heal()
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
        names = ("relay", *REACTORS.values(), f"view/accounts/{pointer['active'] if pointer else 0}")
        reasons = []
        for number, head in self.lanes().items():
            marks = {"relay": head["published"], **head["followers"]}
            behind = {n: marks.get(n) for n in names if marks.get(n, 0) < head["tail"]}
            if behind:
                reasons.append(f"lane {number} (tail {head['tail']}, owner {head['owner']}): {behind}")
            holders = [p.instance for p in self.processes.values() if number in p.engine.running]
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


async def _turns(times: int) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


async def _order(service: Service, command: Command, key: str, body: bytes, reply: Reply | None = None) -> Reply:
    return await order(service, command, key, body, reply)


async def _quietly(rebuild: Callable[[str], Coroutine[Any, Any, None]]) -> None:
    try:
        await rebuild("accounts")
    except (Problem, SidecarError):
        return  # an operator would ask again


def _brief(verb: str, subject: Any) -> str:
    match verb:
        case "transact":
            return " ".join(operation.key for operation in subject)[:300]
        case "publish":
            return " ".join(entry.event["origin"] for entry in subject[1])[:200]
        case "read":
            return " ".join(subject)[:200]
    return str(subject or "")
