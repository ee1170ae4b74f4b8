"""One transaction while it is being composed: what was read, what the pure code changed, and what will be written.

Each message runs on a fork that is merged only if it succeeded, so a handler that fails half-way leaves nothing.
Later messages see earlier ones' changes: a hot document costs no conflict within a process.
"""

import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID, uuid4

import orjson
from pydantic import BaseModel

from chassis import keys
from chassis.envelope import Event, timestamp
from chassis.journal import Head
from chassis.problems import Invalid, TooLarge
from chassis.rules import Ref, Rules, S
from chassis.sidecar import Operation, Put, Sidecar, Stored

_LONG_NUMBER = re.compile(rb"\d{16}")
_ABSENT: Final = object()


class NotLoaded(Exception):
    """Keys were looked at that nobody asked the store for."""

    def __init__(self, *keys: str) -> None:
        """Remember `keys`."""
        super().__init__(*keys)
        self.keys = keys


@dataclass(frozen=True, slots=True)
class Doc:
    """A document: its counter of events, its state, and that state as JSON."""

    revision: int
    state: BaseModel | None
    json: bytes = b"null"

    @classmethod
    def of(cls, revision: int, state: BaseModel) -> "Doc":
        """Dump `state` once; raises `TooLarge` or `Invalid` for what the store would refuse or spoil."""
        return cls(revision, state, bounded(state.model_dump_json().encode(), keys.DOCUMENT_BYTES, "a document"))

    def value(self) -> Any:
        """Return the stored form."""
        return orjson.Fragment(b'{"revision":%d,"state":%b}' % (self.revision, self.json))


def bounded(data: bytes, limit: int, what: str) -> bytes:
    """Refuse JSON that is too large, or holds an integer that daprd would round."""
    if len(data) > limit:
        raise TooLarge(f"{what} of {len(data)} bytes is over the limit of {limit}")
    if _LONG_NUMBER.search(data) and not keys.integers_fit(orjson.loads(data)):
        raise Invalid(f"{what} holds an integer beyond 2^53; send it as text")
    return data


@dataclass(slots=True)
class Base:
    """What the batch starts from: the head, and every key that was asked for."""

    rules: Rules
    service: str
    lane: int
    head: Head
    stored: dict[str, Stored]
    asked: set[str]
    docs: dict[str, Doc] = field(default_factory=dict)


def new_id() -> UUID:
    """Draw an id that begins with the time (RFC 9562, version 7): ids of one moment lie side by side in an index.

    So a batch writes few pages of the store, however many it has.
    """
    chance = uuid4().int % (1 << 80) | 0x7 << 76  # behind the time version 7 is laid out as version 4
    return UUID(int=int(time.time() * 1000) << 80 | chance)


@dataclass(frozen=True, slots=True)
class Cause:
    """Where events come from; fixed when the message was admitted, so that a repeated run gives the same events."""

    seed: int
    now: float
    message_id: str
    correlation_id: str
    traceparent: str

    def envelope(self, event: Event, revision: int, index: int) -> dict[str, Any]:
        """Wrap one event; ids follow from the seed, in order."""
        return {
            "eventType": event.event_type,
            "eventId": str(UUID(int=self.seed + index)),
            "timestamp": timestamp(self.now),
            "version": event.version,
            "payload": event.model_dump(mode="json", by_alias=True),
            "subject": event.subject,
            "revision": revision,
            "correlationId": self.correlation_id or event.aggregate_id,
            "causationId": self.message_id,
            "traceparent": self.traceparent,
        } | ({} if event.published else {"private": True})


class Draft:
    """The changes of a batch, or of one message in it (`fork`)."""

    def __init__(self, base: Base, parent: "Draft | None" = None) -> None:
        """Start empty."""
        self.base, self.parent = base, parent
        self.values: dict[str, Any] = {}
        self.ttls: dict[str, int] = {}
        self.placed: dict[str, Any] = {}
        self.guards: set[str] = set()
        self.events: list[dict[str, Any]] = []
        self.marks: dict[str, int] = {}
        self.size = 0  # bytes of events and documents, for the bound on a transaction
        self.dead_letters: int = parent.dead_letters if parent else base.head.dead_letters

    def fork(self) -> "Draft":
        """Begin one message's changes."""
        return Draft(self.base, self)

    def merge(self, fork: "Draft") -> None:
        """Take over a message's changes; its events get their place in the record."""
        head = self.base.head
        for event in fork.events:
            event["origin"] = (
                f"{self.base.service}/{head.journal_id}/{self.base.lane}/{head.tail + 1}#{len(self.events)}"
            )
            self.events.append(event)
        self.values |= fork.values
        self.ttls |= fork.ttls
        self.placed |= fork.placed
        self.guards |= fork.guards
        self.marks |= fork.marks
        self.size += fork.size
        self.dead_letters = fork.dead_letters

    def get(self, key: str) -> Any:
        """Return the value as this batch leaves it so far; None where absent. Raises `NotLoaded`."""
        value = self.values.get(key, _ABSENT)
        if value is not _ABSENT:
            return value
        if self.parent:
            return self.parent.get(key)
        if key not in self.base.asked:
            raise NotLoaded(key)
        stored = self.base.stored.get(key)
        return stored.value if stored else None

    def mark(self, follower: str) -> int:
        """Return the record up to which this batch leaves a follower so far."""
        known = self.parent.mark(follower) if self.parent else self.base.head.followers.get(follower, 0)
        return max(known, self.marks.get(follower, 0))

    def need(self, keys: Iterable[str]) -> None:
        """Have all of `keys` read at once. Raises `NotLoaded`."""
        if missing := [key for key in keys if key not in self.base.asked]:
            raise NotLoaded(*missing)

    def put(self, key: str, value: Any, *, ttl: int | None = None) -> None:
        """Write a JSON value under the ETag it was read with, or insert-only where it was absent."""
        if key not in self.base.asked:
            raise NotLoaded(key)
        self.values[key] = value
        if ttl:
            self.ttls[key] = ttl

    def place(self, key: str, value: Any) -> None:
        """Write at a number that a document of this transaction gives out: unread, for that one is guarded."""
        self.placed[key] = value

    def doc(self, ref: Ref[Any]) -> Doc:
        """Return a document, parsed once a batch."""
        value = self.get(ref.key)
        if isinstance(value, Doc):
            return value
        cached = self.base.docs.get(ref.key)
        if cached is None:
            cached = self.base.docs[ref.key] = parse(self.base.rules, ref, value)
        return cached

    def __getitem__(self, ref: Ref[S]) -> S | None:
        """Look at a document's state."""
        return self.doc(ref).state  # type: ignore[return-value] - the kind's model, by registration

    def guard(self, refs: Iterable[Ref[Any]]) -> None:
        """What a decision looked at is re-written even if unchanged: nobody can have moved it meanwhile."""
        self.guards.update(ref.key for ref in refs)

    def emit(self, event: Event, cause: Cause) -> None:
        """Fold an event into its document and put it down for the journal."""
        ref: Ref[Any] = Ref(event.aggregate, event.aggregate_id)
        doc = self.doc(ref)
        state = self.base.rules.documents[event.aggregate].apply(doc.state, event)
        folded = self.values[ref.key] = Doc.of(doc.revision + 1, state)
        envelope = cause.envelope(event, doc.revision + 1, len(self.events))
        data = bounded(orjson.dumps(envelope), keys.EVENT_BYTES, f"event {event.event_type}")
        self.size += len(data) + len(folded.json)
        self.events.append(envelope)

    @property
    def changed(self) -> bool:
        """Tell whether there is anything to commit."""
        return bool(self.values or self.guards or self.marks)

    def operations(self, head: Head, record: dict[str, Any] | None) -> list[Operation]:
        """Compose the transaction: documents and marks sorted by key (a common lock order), record, head."""
        writes: list[Operation] = [self._write(key) for key in sorted(self.values.keys() | self.guards)]
        writes += [Put(key, value) for key, value in sorted(self.placed.items())]
        if record:
            writes.append(Put(keys.record(self.base.lane, head.tail), record, insert=True))
        stored = self.base.stored[keys.head(self.base.lane)]
        writes.append(Put(keys.head(self.base.lane), head.value(), etag=stored.etag))
        return writes

    def _write(self, key: str) -> Operation:
        stored = self.base.stored.get(key)
        etag = stored.etag if stored else None
        default = stored.value if stored else {"revision": 0, "state": None}
        value = self.values.get(key, default)
        return Put(key, value.value() if isinstance(value, Doc) else value, etag, stored is None, self.ttls.get(key))


async def states(sidecar: Sidecar, rules: Rules, refs: Sequence[Ref[S]]) -> dict[Ref[S], S]:
    """Read documents' states outside of any batch; absent ones are left out."""
    stored = await sidecar.read([ref.key for ref in refs])
    docs = {ref: parse(rules, ref, stored[ref.key].value) for ref in refs if ref.key in stored}
    return {ref: doc.state for ref, doc in docs.items() if doc.state is not None}  # type: ignore[misc] - by registration


def parse(rules: Rules, ref: Ref[Any], value: Any) -> Doc:
    """Read a stored document; a tombstone or an absent one has no state."""
    if value is None:
        return Doc(0, None)
    if value["state"] is None:
        return Doc(value["revision"], None)
    return Doc(value["revision"], rules.documents[ref.kind].model.model_validate(value["state"]))
