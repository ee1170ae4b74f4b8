"""A sidecar and its store in memory, for tests: deterministic, able to fail at every call (`chassis_testing.faults`).

They do what daprd 1.14 with SQLite does, held to it by the suite in tests/seam. Not for production: nothing is kept.
Time is the clock that is handed in; no randomness, no task of its own.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import orjson

from chassis import wire
from chassis.operations.circuits import Circuits
from chassis.sidecar import (
    Answer,
    Delete,
    Entry,
    ETagMismatch,
    Operation,
    Put,
    Refused,
    Sidecar,
    SidecarError,
    Stored,
    Unanswered,
    Unreachable,
)
from chassis_testing.broker import MemoryBroker, as_stored, through_go
from chassis_testing.faults import NONE, Crashed, Fault, Faults, Verb

__all__ = ["MemoryBroker", "MemorySidecar", "MemoryStore"]

T = TypeVar("T")
App = Callable[[str, bytes | None, Mapping[str, str], Mapping[str, str], str], Awaitable[Answer]]
Binding = Callable[[str, str, Mapping[str, str]], None]  # operation, data, metadata


NOBODY = Answer(500, b'{"errorCode":"ERR_DIRECT_INVOKE"}')
PLENTY = 100_000  # characters: fewer, of ASCII, always travel
MANY = 500  # operations: fewer are measured by their values alone


class _Row(NamedTuple):
    value: bytes
    etag: str
    expires: float | None


class MemoryStore:
    """JSON values with ETags, shared by the sidecars of all replicas."""

    def __init__(self) -> None:
        """Start empty."""
        self.rows: dict[str, _Row] = {}
        self.parked: list[Callable[[], object]] = []
        self._etag = 0

    def read(self, keys: Sequence[str], now: float) -> dict[str, Stored]:
        """Return what is there and not expired."""
        rows = self.rows
        return {
            key: Stored(orjson.loads(row.value), row.etag)
            for key in keys
            if (row := rows.get(key)) and (row.expires is None or row.expires > now)
        }

    def apply(self, operations: Sequence[Operation], now: float) -> None:
        """Apply all or none, in order; a later operation sees the earlier ones."""
        before = [(operation.key, self.rows.get(operation.key)) for operation in operations]
        try:
            for operation in operations:
                if isinstance(operation, Put):
                    self._put(operation, now)
                else:
                    self._delete(operation)
        except ETagMismatch:
            self._undo(before)
            raise

    def _undo(self, before: Sequence[tuple[str, _Row | None]]) -> None:
        for key, row in before:
            if row is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = row

    def land(self) -> list[SidecarError | None]:
        """Let parked calls happen, in the order of sending; returns each one's error, None where it was applied."""
        parked, self.parked = self.parked, []
        outcomes = [_outcome(action) for action in parked]
        return [each if isinstance(each, SidecarError) else None for each in outcomes]

    def _put(self, put: Put, now: float) -> None:
        present = self.rows.get(put.key)
        if present is not None and present.expires is not None and present.expires <= now:
            present = None
        if put.etag and (present is None or present.etag != put.etag):
            raise ETagMismatch(f"{put.key}: {put.etag} is not its ETag")
        if not put.etag and (put.insert or put.etag is not None) and present is not None:
            raise ETagMismatch(f"{put.key} exists")
        self._etag += 1
        expires = now + put.ttl if put.ttl and put.ttl > 0 else None
        value = put.value if isinstance(put.value, bytes) else orjson.dumps(put.value)  # bytes are JSON already
        self.rows[put.key] = _Row(value, f"etag-{self._etag}", expires)

    def _delete(self, delete: Delete) -> None:
        present = self.rows.get(delete.key)  # like SQLite's, this does not look whether the row has expired
        if delete.etag and (present is None or present.etag != delete.etag):
            raise ETagMismatch(f"{delete.key}: {delete.etag} is not its ETag")
        self.rows.pop(delete.key, None)


class MemorySidecar(Sidecar):
    """One process's sidecar. `apps` are the apps that `invoke` finds; the mapping may be shared and grow."""

    def __init__(
        self,
        store: MemoryStore,
        broker: MemoryBroker,
        *,
        faults: Faults | None = None,
        clock: Callable[[], float] = time.monotonic,
        apps: Mapping[str, App] | None = None,
        bindings: Mapping[str, Binding] | None = None,
    ) -> None:
        """`clock` gives seconds; it decides what has expired."""
        self.store, self.broker, self.faults, self.clock = store, broker, faults, clock
        self.apps: Mapping[str, App] = {} if apps is None else apps
        self.bindings: Mapping[str, Binding] = bindings or {}
        self.circuits = Circuits()
        self.crashed = self.closed = False

    async def read(self, keys: Sequence[str]) -> dict[str, Stored]:
        """Bulk get."""
        names = "".join(keys)
        if len(names) > PLENTY or not names.isascii():
            wire.bulk_get(keys)
        return await self._call("read", keys, lambda: self.store.read(_legal(keys), self.clock()))

    async def transact(self, operations: Sequence[Operation]) -> None:
        """One transaction, judged by the ETags of the moment when it lands."""
        sent = _sent(operations)
        await self._call("transact", operations, lambda: self._apply(sent))

    def _apply(self, operations: Sequence[Operation]) -> None:
        _legal([each.key for each in operations])
        self.store.apply(operations, self.clock())

    async def publish(self, topic: str, entries: Sequence[Entry]) -> set[str]:
        """Bulk publish to the broker."""
        wire.bulk_publish(entries)
        sent = [Entry(each.entry_id, through_go(each.event), each.partition_key) for each in entries]
        return await self._call("publish", (topic, entries), lambda: self.broker.take(topic, sent))

    async def invoke(
        self,
        app: str,
        method: str,
        *,
        body: bytes | None = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        verb: str = "POST",
    ) -> Answer:
        """Call one of `apps`; an unknown one is a 500, as from daprd."""
        fault = await self._enter("invoke", (app, method))
        answer = NOBODY
        for _ in range((1 + fault.twice) if app in self.apps and fault.happens else 0):
            answer = await self.apps[app](method, body, query or {}, headers or {}, verb)
        await self._leave(fault)
        return answer

    async def bind(self, binding: str, operation: str, data: str, metadata: Mapping[str, str]) -> None:
        """Call one of `bindings`; an unknown one is a 500, as from daprd."""
        wire.encode([data, dict(metadata)])
        fault = await self._enter("bind", (binding, operation))
        if binding not in self.bindings:
            raise Unanswered(f"couldn't find output binding {binding}")
        for _ in range((1 + fault.twice) if fault.happens else 0):
            self.bindings[binding](operation, data, metadata)
        await self._leave(fault)

    async def outbound_ready(self) -> bool:
        """Tell whether this call finds no fault."""
        try:
            return await self._call("ready", None, lambda: True)
        except SidecarError:
            return False

    async def close(self) -> None:
        """Refuse later calls."""
        self.closed = True

    async def _call(self, verb: Verb, subject: Any, action: Callable[[], T]) -> T:
        fault = self._fault(verb, subject)
        if fault is not None:
            outcome = await self._troubled(fault, action)
        else:  # nearly always, so in few steps
            await self._travel()
            if self.crashed:
                raise Crashed
            outcome = _outcome(action)
            await self._return()
            if self.crashed:
                raise Crashed
        if isinstance(outcome, SidecarError):
            raise outcome
        return outcome

    async def _troubled(self, fault: Fault, action: Callable[[], T]) -> T | SidecarError:
        await self._arrive(fault)
        if fault.late:
            self.store.parked.append(action)
        outcome = _outcome(action) if fault.happens else Unanswered("not reached")
        if fault.twice:
            outcome = _outcome(action)
        await self._leave(fault)
        return outcome

    async def _enter(self, verb: Verb, subject: Any) -> Fault:
        fault = self._fault(verb, subject) or NONE
        await self._arrive(fault)
        return fault

    def _fault(self, verb: Verb, subject: Any) -> Fault | None:
        self._must_live()
        if self.closed:
            raise Unreachable("this client is closed")
        return self.faults(verb, subject) if self.faults else None

    async def _arrive(self, fault: Fault) -> None:
        await self._travel()
        if fault.before is not None:
            await fault.before.wait()
        self._must_live()

    def _must_live(self) -> None:
        if self.crashed:
            raise Crashed

    def _travel(self) -> Awaitable[None]:
        """Let others run while a request travels."""
        return asyncio.sleep(0)

    def _return(self) -> Awaitable[None]:
        """Let others run while an answer travels."""
        return asyncio.sleep(0)

    async def _leave(self, fault: Fault) -> None:
        if fault.after is not None:
            await fault.after.wait()
        await self._return()
        self.crashed = self.crashed or fault.error is Crashed
        self._must_live()
        if fault.error is not None:
            raise fault.error("injected")


def _sent(operations: Sequence[Operation]) -> list[Operation]:
    """Return writes as they are when they are sent, whatever becomes of their values here; raises `Refused`."""
    values = [as_stored(each.value) if isinstance(each, Put) else b"" for each in operations]
    if sum(map(len, values)) > wire.BODY_BYTES // 2 or len(values) > MANY:
        wire.transaction(operations)
    return [
        Put(each.key, value, each.etag, each.insert, each.ttl) if isinstance(each, Put) else each
        for each, value in zip(operations, values, strict=True)
    ]


def _outcome(action: Callable[[], T]) -> T | SidecarError:
    try:
        return action()
    except SidecarError as error:
        return error


def _legal(keys: Sequence[str]) -> Sequence[str]:
    if "||" in "\0".join(keys):
        raise Refused(f"{next(key for key in keys if '||' in key)!r} has Dapr's own separator in it")
    return keys
