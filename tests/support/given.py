"""Specifications of pure business code: `given(rules, *facts).when(message).then(*facts)`.

`World` runs one service's rules without an engine: no sidecar, no clock, no inbox. Where that finds mistakes it is
stricter than the engine: a handler may look only at documents that its registration names, and every state goes
through JSON.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

from pydantic import BaseModel

from chassis.envelope import Command, Event
from chassis.problems import Problem
from chassis.rules import Context, Handler, Ref, Rules

NOW = 1_705_314_600.0  # 2024-01-15T10:30:00Z


@dataclass(frozen=True, slots=True)
class Fact:
    """An event as it would be delivered."""

    event: Event
    revision: int


class World:
    """The documents of one service, and the pure code that changes them."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.documents: dict[Ref[Any], tuple[int, BaseModel | None]] = {}
        self._named: set[Ref[Any]] = set()

    def __getitem__(self, ref: Ref[Any]) -> Any:
        """Serve a handler: only what its registration names."""
        assert ref in self._named, f"the handler looks at {ref}, which neither its loads nor its reads name"
        return self.state(ref)

    def state(self, ref: Ref[Any]) -> Any:
        """Look at a document from outside."""
        return self.documents.get(ref, (0, None))[1]

    def states(self, kind: str) -> dict[str, Any]:
        """Look at all documents of a kind that have a state."""
        return {ref.id: state for ref, (_, state) in self.documents.items() if ref.kind == kind and state is not None}

    def handle(self, message: Event | Command, *, now: float = NOW, revision: int | None = None) -> list[Fact]:
        """Decide and fold; returns the new facts. A refusal is raised and changes nothing."""
        handler = self._handler(message)
        loads = tuple(handler.loads(message))
        self._named = {*loads, *handler.reads(message)}
        events = tuple(handler.decide(self, message, Context(now, "m", "c", revision)))
        assert {Ref(e.aggregate, e.aggregate_id) for e in events} <= set(loads), "a fact of a document not in `loads`"
        if handler.copy:
            self._hear(handler, message, revision)
        return [self.fold(event) for event in events]

    def fold(self, event: Event) -> Fact:
        """Take an own fact as given."""
        ref: Ref[Any] = Ref(event.aggregate, event.aggregate_id)
        revision, state = self.documents.get(ref, (0, None))
        self._store(ref, revision + 1, self.rules.documents[ref.kind].apply(state, event))
        return Fact(event, revision + 1)

    def take(self, event: Event) -> None:
        """Take a fact as given, whoever's it is."""
        own = self.rules.documents.get(event.aggregate)
        if own and not own.copy:
            self.fold(event)
        else:
            self.handle(event)

    def _handler(self, message: Event | Command) -> Handler:
        if isinstance(message, Command):
            return self.rules.commands[type(message).__name__]
        return self.rules.events[message.event_type]

    def _hear(self, handler: Handler, event: Any, revision: int | None) -> None:
        assert handler.copy
        ref = handler.copy(event.aggregate_id)
        known, state = self.documents.get(ref, (0, None))
        if revision is None or revision > known:
            self._store(ref, revision or known, handler.copy.apply(state, event))

    def _store(self, ref: Ref[Any], revision: int, state: BaseModel) -> None:
        stored = type(state).model_validate_json(state.model_dump_json())
        assert stored == state, f"{ref} does not survive its store"
        self.documents[ref] = (revision, stored)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a message."""

    world: World
    facts: tuple[Event, ...]
    refusal: Problem | None

    def then(self, *expected: Event) -> Self:
        """Expect exactly these facts, in this order; the time of decision is not compared."""
        assert self.refusal is None, f"refused: {self.refusal}"
        assert _shapes(self.facts) == _shapes(expected)
        return self

    def then_nothing(self) -> Self:
        """Expect no fact and no refusal."""
        return self.then()

    def then_refused(self, kind: type[Problem], *, field: str | None = None) -> Self:
        """Expect a refusal that names `field`, and no fact."""
        assert isinstance(self.refusal, kind), f"expected {kind.__name__}, got {self.refusal!r} and {self.facts}"
        assert self.refusal.extra.get("field") == field
        return self

    def and_state(self, ref: Ref[Any], **members: Any) -> Self:
        """Expect these members of a document."""
        state = self.world.state(ref)
        assert state is not None, f"{ref} has no state"
        assert {name: getattr(state, name) for name in members} == members
        return self


class Given:
    """A service to which some things have happened."""

    def __init__(self, rules: Rules, facts: Iterable[Event]) -> None:
        self.world = World(rules)
        for fact in facts:
            self.world.take(fact)

    def when(self, message: Event | Command, *, now: float = NOW, revision: int | None = None) -> Outcome:
        """Let a command or an event arrive."""
        try:
            facts = self.world.handle(message, now=now, revision=revision)
        except Problem as refusal:
            return Outcome(self.world, (), refusal)
        return Outcome(self.world, tuple(fact.event for fact in facts), None)


def given(rules: Rules, *facts: Event) -> Given:
    """Start a specification: own facts are folded, others' are handled."""
    return Given(rules, facts)


def _shapes(events: Iterable[Event]) -> list[tuple[str, dict[str, Any]]]:
    return [(type(event).__name__, event.model_dump(exclude={"at"})) for event in events]
