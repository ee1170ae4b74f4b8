"""A store, a broker and some replicas of one service on them, all in memory; and what must be true of the store."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import accounts
from accounts import Account, make_rules

from chassis import keys
from chassis.engine import Engine
from chassis.envelope import Command
from chassis.process import Settings
from chassis.rules import Ref, Rules
from chassis.service import IdempotencyKey, Service
from chassis.work import Reply
from chassis_testing.faults import Crashed, Faults
from chassis_testing.memory import MemoryBroker, MemorySidecar, MemoryStore

FAST = 0.3  # seconds of lease: short, so that take-overs do not make tests slow


class World:
    """Everything outside the processes."""

    def __init__(self) -> None:
        self.store, self.broker = MemoryStore(), MemoryBroker()
        self.now = 1_000_000.0  # the clock by which stored values expire

    def service(
        self,
        name: str = "bank",
        *,
        instance: str = "a",
        rules: Rules | None = None,
        faults: Faults | None = None,
        **settings: Any,
    ) -> Service:
        values: dict[str, Any] = {"lease": FAST, "drain_within": 1.0, **settings}
        sidecar = MemorySidecar(self.store, self.broker, faults=faults, clock=lambda: self.now)
        made = Settings(instance=instance, **values)
        return Service(name, rules or make_rules(), settings=made, sidecar=sidecar)

    @asynccontextmanager
    async def running(self, name: str = "bank", **options: Any) -> AsyncIterator[Service]:
        service = self.service(name, **options)
        async with alive(service):
            yield service

    def value(self, key: str) -> Any:
        found = self.store.read([key], self.now)
        return found[key].value if key in found else None

    def balance(self, account: str) -> int:
        document = self.value(keys.document("account", account))
        return document["state"]["balance"] if document and document["state"] else 0

    def head(self, lane: int = 0) -> dict[str, Any]:
        return self.value(keys.head(lane))

    def records(self) -> list[dict[str, Any]]:
        lanes = range(self.value(keys.LANES)["lanes"])
        heads = {n: self.head(n) for n in lanes if self.head(n)}
        return [self.value(keys.record(n, i)) for n, head in heads.items() for i in range(1, head["tail"] + 1)]

    def events(self) -> list[dict[str, Any]]:
        return [e for record in self.records() for e in record["events"]]

    def check(self) -> None:
        """Numbers without gaps, one record each, ids unique, and documents equal to the fold by revision."""
        assert None not in self.records()
        events = self.events()
        assert len({e["eventId"] for e in events}) == len(events)
        subjects: dict[str, list[dict[str, Any]]] = {}
        for event in events:
            subjects.setdefault(event["subject"], []).append(event)
        kind = make_rules().documents["account"]
        for subject, facts in subjects.items():
            facts.sort(key=lambda e: e["revision"])
            assert [e["revision"] for e in facts] == list(range(1, len(facts) + 1)), subject
            state: Account | None = None
            for fact in facts:
                state = kind.apply(state, read_fact(fact))
            stored = self.value(keys.document("account", subject.partition("/")[2]))
            assert stored == {"revision": len(facts), "state": state.model_dump() if state else None}


def read_fact(fact: dict[str, Any]) -> Any:
    return getattr(accounts, fact["eventType"]).model_validate(fact["payload"])


@asynccontextmanager
async def alive(service: Service) -> AsyncIterator[None]:
    """Run the engine until the block ends; then drain, unless the process is dead."""
    engine = service.engine
    assert engine is not None
    task = asyncio.create_task(engine.run())
    try:
        await until(lambda: engine.ready.is_set() or task.done())
        yield
        await engine.drain()
    finally:
        await kill(engine, task)


async def kill(engine: Engine, task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert not engine.running


async def until(condition: Callable[[], Any], within: float = 10.0) -> None:
    """Poll a condition, with a deadline."""
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(0.002)


def order(
    service: Service, command: Command, key: str = "", body: bytes = b"", reply: Reply | None = None
) -> Awaitable[Reply]:
    named = IdempotencyKey(f"command/{key}", keys.fingerprint(body)) if key else None
    return service.submit(command, reply or Reply(202, {"done": True}), key=named)


def envelope(kind: str, payload: dict[str, Any], event_id: str = "", **more: Any) -> dict[str, Any]:
    return {
        "eventType": kind, "eventId": event_id or str(uuid.uuid4()), "timestamp": "2026-01-01T00:00:00Z",
        "version": "1.0", "payload": payload, **more,
    }  # fmt: skip


__all__ = ["Crashed", "Ref", "World", "alive", "envelope", "order", "until"]
