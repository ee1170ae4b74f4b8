"""Everything in one event loop: some processes of each service, their stores, the broker, the bank, the mails.

Chance comes from one generator, time from the loop, so a seed is always the same history.
"""

import asyncio
import contextvars
import hashlib
import random
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson

from chassis import keys
from chassis.sidecar import Answer, SidecarError
from chassis_testing.faults import Crashed, Fault, Verb
from chassis_testing.memory import App, MemoryStore
from chassis_testing.mortal import owned
from chassis_testing.virtual_time import VirtualLoop
from simulation.bodies import RULES
from simulation.broker import Broker
from simulation.outside import REFUSED, Bank, Mailbox
from simulation.plan import REPLICAS
from simulation.replica import Replica, Slot
from support.http import Heard

EPOCH = 1_800_000_000.0
WITHIN = 3.0  # seconds that a sidecar waits for an app, and
REPEATS = 2  # how often it asks again (components/platform/resiliency.yaml); the gateway's never does
CALLER = {"dapr-caller-app-id": "simulation"}
SUBSCRIBERS = {
    topic: [
        name
        for name, rules in RULES.items()
        if topic in {getattr(h.message, "topic", "") for h in rules.events.values()}
    ]
    for topic in RULES
}


@dataclass(frozen=True, slots=True)
class Past:
    """How the stores stood when everything had been stopped in good order."""

    now: float
    rows: Mapping[str, Mapping[str, Any]]
    etags: Mapping[str, int]
    people: tuple[str, ...]
    published: frozenset[str]  # ids of the events that the broker took


class Town:
    """One seed's world."""

    epoch = EPOCH

    def __init__(self, seed: int, past: Past | None = None) -> None:
        self.loop = VirtualLoop(past.now if past else 0.0)
        self.loop.set_task_factory(owned)  # type: ignore[arg-type] - typeshed has no context there
        self.loop.set_exception_handler(self._unhandled)
        self.dice = random.Random(seed)
        self.people = list(past.people) if past else []
        self.published_before = past.published if past else frozenset[str]()
        self.stores = {name: _store(past, name) for name in RULES}
        self.hits: Counter[str] = Counter()
        self.seen: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.newcomers: list[Any] = []
        self.story: list[tuple[float, str, str, Any, Any]] = []
        self.away: dict[str, float] = {}
        self.in_hand = 0  # what will still happen by itself
        self.calm = False
        self.forced: Callable[[Replica, Verb, Any], Fault | None] | None = None  # instead of what is armed
        self.broker = Broker(self, SUBSCRIBERS)
        self.bank, self.mailbox = Bank(self), Mailbox()
        self.apps: dict[str, App] = {"bank": self.bank.answer}
        self.apps.update({name: partial(self._forward, name, REPEATS) for name in RULES})
        self.apps_of_gateway: dict[str, App] = {name: partial(self._forward, name, 0) for name in RULES}
        self.slots: dict[tuple[str, str], Slot] = {}
        self.replicas: dict[tuple[str, str], Replica] = {}
        self.lives: list[Replica] = []  # all that ever were
        self._errands: dict[asyncio.Task[Any], None] = {}
        for service in (*RULES, "gateway"):
            self.stores.setdefault(service, MemoryStore())
            for name in REPLICAS:
                self.slots[service, name] = Slot(service, name, 0.0, [])
                self._begin(service, name, name)

    # time and chance

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        await asyncio.sleep(seconds)

    async def pause(self) -> None:
        """Let a moment pass, never the same."""
        await asyncio.sleep(self.dice.choice((0.001, 0.005, 0.02, 0.06)))

    def pass_time(self, seconds: float) -> None:
        """Set every machine's clock forward: deadlines come, while what processes do every second is not repeated."""
        self.epoch += seconds

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Let the world go on until `work` is done."""
        return self.loop.run_until_complete(work)

    def hit(self, kind: str) -> None:
        """A trouble has struck."""
        self.hits[kind] += 1

    def record(self, who: str, verb: str, subject: Any, fault: Any = None) -> None:
        """Write down what happened."""
        self.story.append((self.loop.now, who, verb, subject, fault))

    # processes

    def _begin(self, service: str, name: str, instance: str) -> None:
        self.replicas[service, name] = Replica(self, self.slots[service, name], instance)
        self.lives.append(self.replicas[service, name])

    def died(self, replica: Replica) -> None:
        """Start another one in its place, under its own name or, as in a rollout, under a new one."""
        self.record(replica.tag, "died", None)
        if not self.calm:
            self.loop.call_later(self.dice.choice((0.1, 0.5, 1.5)), self.begin_again, replica.slot)

    def begin_again(self, slot: Slot) -> None:
        """Start a process where none lives."""
        if self.replicas[slot.service, slot.name].alive:
            return
        slot.starts += 1
        renamed = self.dice.random() < 0.3
        instance = f"{slot.name}{slot.starts}" if renamed else self.replicas[slot.service, slot.name].instance
        self._begin(slot.service, slot.name, instance)
        self.record(self.replicas[slot.service, slot.name].tag, "begins", None)

    def living(self, service: str) -> list[Replica]:
        """Return the processes of a service that live."""
        return [r for r in (self.replicas[service, name] for name in REPLICAS) if r.alive]

    # requests

    def start(self, work: Coroutine[Any, Any, Any]) -> None:
        """Begin an errand that is nobody's process."""
        task = self.loop.create_task(work, context=contextvars.Context())  # not its, whose call led here
        self._errands[task] = None
        task.add_done_callback(self._over)

    def _over(self, task: "asyncio.Task[Any]") -> None:
        self._errands.pop(task, None)
        if not task.cancelled() and (error := task.exception()):
            self.wrong.append(f"{type(error).__name__}: {error}")

    @property
    def busy(self) -> int:
        """How many errands are not done."""
        return len(self._errands)

    async def reach(
        self, service: str, verb: str, path: str, body: bytes, headers: Mapping[str, str], within: float,
        query: Mapping[str, str] | None = None,
    ) -> Heard | None:  # fmt: skip
        """Ask any living process; None where no answer came in time."""
        living = self.living(service)
        if not living:
            return None
        replica = self.dice.choice(living)
        if not replica.gate.is_set() and len(living) > 1 and self.dice.random() < 0.5:
            replica = next(r for r in living if r is not replica)
        request = replica.spawn(replica.body.door.ask(verb, path, body, query or {}, headers))
        if not await self._ends(request, within) or request.cancelled():
            return None
        if error := request.exception():
            if not isinstance(error, Crashed):
                self.wrong.append(f"{replica.tag} {verb} {path} raised {error!r}")
            return None
        return request.result()

    async def _ends(self, task: "asyncio.Task[Any]", within: float) -> bool:
        """Wait for the end of a task as `asyncio.wait` does, in a third of its steps."""
        ended: asyncio.Future[None] = self.loop.create_future()

        def end(_: object = None) -> None:
            if not ended.done():
                ended.set_result(None)

        task.add_done_callback(end)
        timer = self.loop.call_later(within, end)
        try:
            await ended
        finally:
            timer.cancel()
            task.remove_done_callback(end)
        return task.done()

    async def _forward(
        self, app: str, repeats: int, method: str, body: bytes | None, query: Mapping[str, str],
        headers: Mapping[str, str], verb: str,
    ) -> Answer:  # fmt: skip
        for attempt in range(1 + repeats):
            if attempt:
                await asyncio.sleep(0.3 * attempt)
            if self.loop.now < self.away.get(app, 0.0):
                self.hit(f"{app} away")
                continue
            heard = await self.reach(app, verb, f"/{method}", body or b"", {**headers, **CALLER}, WITHIN, query)
            if heard and heard.status < 400:
                return Answer(heard.status, heard.content, heard.headers)
        return REFUSED

    # calls that land late

    def land_later(self, store: MemoryStore, action: Callable[[], object], delay: float) -> None:
        """Let a parked call happen after all."""
        self.in_hand += 1
        self.loop.call_later(delay, self._land, store, action)

    def _land(self, store: MemoryStore, action: Callable[[], object]) -> None:
        self.in_hand -= 1
        store.parked.remove(action)
        try:
            action()
        except SidecarError:
            return

    # looking

    def value(self, service: str, key: str) -> Any:
        """Look into a store."""
        found = self.stores[service].read([key], self.loop.now)
        return found[key].value if key in found else None

    def heads(self, service: str) -> dict[str, Any]:
        """Look at the heads of its lanes."""
        directory = self.value(service, keys.LANES)
        names = [keys.head(n) for n in range(directory["lanes"] if directory else 0)]
        return {key: found.value for key, found in self.stores[service].read(names, self.loop.now).items()}

    def values(self, service: str, prefix: str) -> dict[str, Any]:
        """Look at everything whose key begins so."""
        names = [key for key in self.stores[service].rows if key.startswith(prefix)]
        return {k: s.value for k, s in sorted(self.stores[service].read(names, self.loop.now).items())}

    def lines(self) -> Iterable[str]:
        """Tell what happened, one line a call."""
        for at, who, verb, subject, fault in self.story:
            yield f"{at:9.4f} {who:16} {verb:9} {brief(verb, subject)}{f' !! {told(fault)}' if fault else ''}"

    def digest(self) -> str:
        """Tell the whole history, all that was stored included, in one number."""
        sum_ = hashlib.sha256()
        for line in self.lines():
            sum_.update(line.encode())
        for name, store in sorted(self.stores.items()):
            sum_.update(repr((name, sorted(store.rows.items()))).encode())
        return sum_.hexdigest()

    def close(self) -> None:
        """End everything."""
        self.calm = True
        for replica in self.replicas.values():
            replica.die()
        for task in self._errands:
            task.cancel()
        while left := asyncio.all_tasks(self.loop):
            for task in left:
                task.cancel()
            self.loop.run_until_complete(asyncio.wait(left))
        self.loop.close()
        self.bank.book.close()
        self._let_go()

    def _let_go(self) -> None:
        """Take apart what holds each other: finding that by the collector takes a tenth of a seed."""
        for life in self.lives:
            engine = life.engine
            for each in (*(engine.running.values() if engine else ()), engine, life.sidecar, life):
                if each:
                    vars(each).clear()
        for store in self.stores.values():
            store.rows.clear()
        vars(self.broker).clear()
        vars(self).clear()

    def _unhandled(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, Crashed | BaseExceptionGroup | SidecarError):
            return
        self.wrong.append(f"{context.get('message')}: {error!r}")


def _store(past: Past | None, name: str) -> MemoryStore:
    store = MemoryStore()
    if past:
        store.rows, store._etag = dict(past.rows[name]), past.etags[name]
    return store


def told(fault: Any) -> str:
    """Name a fault."""
    if not isinstance(fault, Fault):
        return str(fault)
    name = fault.error.__name__ if fault.error else "late"
    return name + (" applied" * fault.applied) + (" late" * fault.late) + (" frozen" * (fault.before is not None))


def brief(verb: str, subject: Any) -> str:
    """Show what a call was about."""
    match verb:
        case "transact":
            return " ".join(operation.key for operation in subject)
        case "read":
            return " ".join(subject)
        case "publish":
            return " ".join(f"{e.event['eventType']}:{e.event['origin']}" for e in subject[1])
        case "ready":
            return ""
        case _:
            return " ".join(map(str, subject)) if isinstance(subject, tuple) else orjson.dumps(subject).decode()
