"""How a service says what it decides: documents, handlers, local copies, reactors and views, all registered here.

Everything registered is pure, except reactors, which may look at the world. Nothing here runs anything: the engine
and the followers do.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Generic, Protocol, TypeVar

from pydantic import BaseModel

from chassis import keys
from chassis.envelope import Catalogue, Command, Event

S = TypeVar("S", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Ref(Generic[S]):
    """The name of a document: a kind and an id."""

    kind: str
    id: str

    @property
    def key(self) -> str:
        """Where it is stored."""
        return keys.document(self.kind, self.id)


class Documents(Protocol):
    """What a handler may look at: the documents that its registration named, with this batch's earlier changes."""

    def __getitem__(self, ref: Ref[S]) -> S | None:
        """The state, or None where there is none yet."""
        ...


@dataclass(frozen=True, slots=True)
class Context:
    """What a decision may know besides state and message; all of it fixed when the message was admitted."""

    now: float  # seconds since the epoch
    message_id: str
    correlation_id: str
    revision: int | None = None  # of the event being handled
    origin: str | None = None

    @property
    def moment(self) -> datetime:
        """`now` as a date in UTC, for facts that say when they were decided."""
        return datetime.fromtimestamp(self.now, UTC)


@dataclass(frozen=True, slots=True)
class Handler:
    """`decide` for one message type. `loads` are documents it decides about, `reads` copies it only looks at."""

    message: type[Event] | type[Command]
    decide: Callable[[Documents, Any, Context], Sequence[Event]]
    loads: Callable[[Any], Iterable[Ref[Any]]]
    reads: Callable[[Any], Iterable[Ref[Any]]]
    copy: "DocumentType[Any] | None" = None
    history: bool = True  # whether, when new, it wants the events from before its time


class DocumentType(Generic[S]):
    """A kind of document; calling it names one."""

    def __init__(self, kind: str, model: type[S], *, copy: bool = False) -> None:
        """`copy`: a local copy of another service's data, folded from its events by their revision."""
        self.kind, self.model, self.copy = kind, model, copy
        self.fold: Callable[[S | None, Any], S] | None = None

    def __call__(self, name: str) -> Ref[S]:
        """Name one document."""
        return Ref(self.kind, name)

    def evolve(self, function: Callable[[S | None, Any], S]) -> Callable[[S | None, Any], S]:
        """Register the fold `evolve(state, event) -> state`."""
        self.fold = function
        return function

    def apply(self, state: S | None, event: Event) -> S:
        """Fold one event."""
        if self.fold is None:
            raise TypeError(f"document {self.kind!r} has no evolve function: decorate one with @{self.kind}.evolve")
        return self.fold(state, event)


class Outside(Protocol):
    """What a reactor may use of the world. Every call has a time-out."""

    idempotency_key: str  # the same for every repetition of this reaction
    attempt: int  # 1 for the first of this process

    async def invoke(
        self, app: str, method: str, body: Mapping[str, Any] | None = None, *, fresh_for: float = 0.0
    ) -> Any:
        """Call another service or an HTTPEndpoint; returns its JSON answer, raises the `Problem` it refused with.

        Where nothing is changed by asking, an answer to the same question may be used again for `fresh_for` seconds.
        """
        ...

    async def bind(self, binding: str, operation: str, data: str, metadata: Mapping[str, str]) -> None:
        """Hand `data` to an output binding, such as mail."""
        ...

    async def read(self, ref: Ref[S]) -> S | None:
        """Look at one of the service's own documents as it stands now: for a reaction that may be wanted no more."""
        ...


Reaction = Callable[[Any, Outside], "Awaitable[Command | None] | Command | None"]


@dataclass(frozen=True, slots=True)
class Reactor:
    """Follows the service's own journal; what it learns comes back as a command. `after` (seconds) makes a deadline.

    After `attempts` that failed it is a dead letter; after every `alarm` of them somebody should look.
    """

    name: str
    event: type[Event]
    react: Reaction
    after: float = 0.0
    concurrency: int = 16
    attempts: int = 8
    alarm: int = 0  # none


@dataclass
class View(Generic[S]):
    """A read model: one row a subject, listed by group in order of first appearance, 100 to a page.

    `group` names the list that a row belongs to; it is asked once, when the row first exists. `births`: the events of
    `on` only ever begin their subject (revision 1), so its later ones need not be looked at.
    """

    name: str
    row: type[S]
    on: tuple[type[Event], ...]
    group: Callable[[S], str]
    births: bool = False
    fold: Callable[[S | None, Any], S] = field(init=False)

    def folds(self, function: Callable[[S | None, Any], S]) -> Callable[[S | None, Any], S]:
        """Register the fold of a row."""
        self.fold = function
        return function

    def takes(self, event: Mapping[str, Any]) -> bool:
        """Tell whether a recorded event is one of `on`."""
        return any(event["eventType"] == each.event_type for each in self.on)


def _nothing(_message: Any) -> Iterable[Ref[Any]]:
    return ()


D = TypeVar("D", bound=Callable[..., Sequence[Event]])
R = TypeVar("R", bound=Callable[..., Any])


class Rules:
    """What one service decides. Registering a message type twice is an error at import."""

    def __init__(self) -> None:
        """Start empty."""
        self.documents: dict[str, DocumentType[Any]] = {}
        self.commands: dict[str, Handler] = {}
        self.events: dict[str, Handler] = {}
        self.reactors: dict[str, Reactor] = {}
        self.views: dict[str, View[Any]] = {}
        self.catalogue = Catalogue()

    def document(self, kind: str, model: type[S]) -> DocumentType[S]:
        """Declare a kind of document that this service owns."""
        return self._declare(DocumentType(kind, model))

    def copy(self, kind: str, model: type[S], *events: type[Event]) -> DocumentType[S]:
        """Declare a local copy of another service's data, fed by `events`; the highest revision stays."""
        copy = self._declare(DocumentType(kind, model, copy=True))
        for event in events:
            handler = Handler(event, _no_events, lambda e: (copy(e.aggregate_id),), _nothing, copy)
            self._register(self.events, event.event_type, handler)
            self.catalogue.add(event)
        return copy

    def command(
        self,
        message: type[Command],
        *,
        loads: Callable[[Any], Iterable[Ref[Any]]],
        reads: Callable[[Any], Iterable[Ref[Any]]] = _nothing,
    ) -> Callable[[D], D]:
        """Register `decide` for a command."""

        def register(decide: D) -> D:
            self._register(self.commands, message.__name__, Handler(message, decide, loads, reads))
            return decide

        return register

    def on(
        self,
        event: type[Event],
        *,
        loads: Callable[[Any], Iterable[Ref[Any]]] = _nothing,
        reads: Callable[[Any], Iterable[Ref[Any]]] = _nothing,
        history: bool = True,
    ) -> Callable[[D], D]:
        """Register `decide` for another service's event; without `history`, for those from now on."""

        def register(decide: D) -> D:
            self._register(self.events, event.event_type, Handler(event, decide, loads, reads, history=history))
            self.catalogue.add(event)
            return decide

        return register

    def reactor(
        self,
        name: str,
        event: type[Event],
        *,
        after: float = 0.0,
        concurrency: int = 16,
        attempts: int = 8,
        alarm: int = 0,
    ) -> Callable[[R], R]:
        """Register a reaction to one of this service's own events, `after` seconds behind it."""

        def register(react: R) -> R:
            self._register(self.reactors, name, Reactor(name, event, react, after, concurrency, attempts, alarm))
            self.catalogue.add(event)
            return react

        return register

    def view(
        self, name: str, row: type[S], *on: type[Event], group: Callable[[S], str], births: bool = False
    ) -> View[S]:
        """Declare a read model folded from this service's own events."""
        view = View(name, row, on, group, births)
        self._register(self.views, name, view)
        for event in on:
            self.catalogue.add(event)
        return view

    def _declare(self, document: DocumentType[S]) -> DocumentType[S]:
        self._register(self.documents, document.kind, document)
        return document

    @staticmethod
    def _register(table: dict[str, Any], name: str, value: Any) -> None:
        if name in table:
            raise ValueError(f"{name!r} is registered twice; one message type has one handler in a service")
        table[name] = value


def _no_events(_docs: Documents, _message: Any, _context: Context) -> Sequence[Event]:
    return ()
