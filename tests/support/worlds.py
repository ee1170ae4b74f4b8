"""All services with nothing running but their pure code: who tells whom what, and what may go wrong on the way.

Messages and reactions lie in the open, and whoever drives `Worlds` says which comes next: once, twice, late. A call of
a reaction may be lost, or answered to nobody, or reach the bank long after everybody has given it up.
"""

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from inspect import isawaitable
from pathlib import Path
from typing import Any

import inventory.main
import notifications.main
import orders.main
import payments.main
import users.main
from bank.api import told
from bank.book import Book
from chassis.envelope import Command
from chassis.problems import Problem
from chassis.rules import Outside, Reactor, Ref, S
from chassis.sidecar import SidecarError, Unanswered
from contracts.users import UserAnswer
from orders.domain import order
from support.given import Fact, World
from users.domain import contact, not_registered

RULES = {
    "orders": orders.main.rules,
    "inventory": inventory.main.rules,
    "payments": payments.main.rules,
    "users": users.main.rules,
    "notifications": notifications.main.rules,
}


class Trouble(StrEnum):
    """What happens to one call."""

    NONE = "none"
    LOST = "lost"
    UNHEARD = "unheard"  # it is done, and nobody is told
    LATE = "late"  # nobody waits for it any more when it is done


@dataclass(slots=True)
class Reaction:
    """Something that a service does about a fact of its own; what it learnt is a command that waits to be handled."""

    service: str
    reactor: Reactor
    fact: Fact
    decided: Command | None = None
    settled: bool = False
    attempts: int = 0

    @property
    def deadline(self) -> bool:
        """Whether it waits for time to pass."""
        return self.reactor.after > 0


@dataclass
class Worlds(Outside):
    """The services, the messages between them, the reactions that are still to come, the bank and the mail."""

    idempotency_key = ""
    attempt = 1
    broke: set[str] = field(default_factory=set)  # whose payment the bank declines
    flying: list[tuple[str, Fact]] = field(default_factory=list)
    reactions: list[Reaction] = field(default_factory=list)
    late: list[Callable[[], Any]] = field(default_factory=list)
    mails: dict[str, set[str]] = field(default_factory=dict)  # by file name: what was written there

    def __post_init__(self) -> None:
        self.worlds = {name: World(rules) for name, rules in RULES.items()}
        self.bank = Book(Path(":memory:"))
        self._trouble = Trouble.NONE
        self._asking = ""

    def close(self) -> None:
        """Give the bank's book back."""
        self.bank.close()

    # what may come next

    def submit(self, service: str, command: Command) -> None:
        """Let a service decide about a command; raises its refusal."""
        self._follow(service, self.worlds[service].handle(command))

    def deliver(self, index: int, *, again: bool = False) -> None:
        """Deliver one message; `again` leaves it with the broker, as if the receipt had been lost."""
        service, fact = self.flying[index] if again else self.flying.pop(index)
        self._follow(service, self.worlds[service].handle(fact.event, revision=fact.revision))

    def react(self, index: int, trouble: Trouble = Trouble.NONE, *, again: bool = False) -> None:
        """Run a reaction, or handle what it has learnt; `again` runs it once more, as after a crash."""
        reaction = self.reactions[index]
        if reaction.decided and not again:
            del self.reactions[index]
            self.submit(reaction.service, reaction.decided)
            return
        self._trouble, self._asking = trouble, reaction.service
        reaction.attempts += 1
        self.attempt = reaction.attempts
        try:
            command = _run(reaction.reactor.react(reaction.fact.event, self))
        except (Problem, SidecarError):
            return  # it is run again
        if reaction.decided is None:
            reaction.decided = command
        if command is None and not again:
            del self.reactions[index]

    def land(self, index: int) -> None:
        """Let a late call reach the bank after all."""
        self.late.pop(index)()

    def settle(self, rounds: int = 200) -> None:
        """Let everything happen that is still to come, the newest first; what fails is tried again later."""
        for _ in range(rounds):
            if not (self.flying or self.reactions or self.late):
                return
            while self.flying:
                self.deliver(-1)
            while self.late:
                self.land(-1)
            for reaction in [each for each in self.reactions if not each.deadline] or self.reactions[:1]:
                self.react(self.reactions.index(reaction))
        raise AssertionError(f"it never ends: {self.reactions}")

    # what a reaction may use of the world

    async def invoke(
        self, app: str, method: str, body: Mapping[str, Any] | None = None, *, fresh_for: float = 0.0
    ) -> Any:
        """Answer as the other service would, if at all."""
        act = {
            ("orders", "order-status"): self._order_status, ("users", "contact"): self._contact,
            ("bank", "authorize"): self._authorize, ("bank", "void"): self._void, ("bank", "capture"): self._capture,
        }[app, method]  # fmt: skip
        return self._call(lambda: act(**body or {}))

    async def bind(self, binding: str, operation: str, data: str, metadata: Mapping[str, str]) -> None:
        """Take a mail in."""
        assert (binding, operation) == ("mail", "create")
        self._call(lambda: self.mails.setdefault(metadata["fileName"], set()).add(data))

    async def read(self, ref: Ref[S]) -> S | None:
        """Look into the store of whoever asks."""
        return self.worlds[self._asking].state(ref)

    # the others' answers

    def _call(self, act: Callable[[], Any]) -> Any:
        if self._trouble in {Trouble.LOST, Trouble.LATE}:
            self.late += [act] if self._trouble is Trouble.LATE else []
            raise Unanswered(self._trouble)
        answer = act()
        if self._trouble is Trouble.UNHEARD:
            raise Unanswered(self._trouble)
        return answer

    def _order_status(self, orderId: str) -> dict[str, Any]:  # noqa: N803 - as on the wire
        state = self.worlds["orders"].state(order(orderId))
        return {"orderId": orderId, "status": state.status if state else "unknown"}

    def _contact(self, userId: str) -> dict[str, Any]:  # noqa: N803 - as on the wire
        known = self.worlds["users"].state(contact(userId))
        if known is None:
            raise not_registered(userId)
        answer = UserAnswer(user_id=userId, name=known.name, email=known.email, active=True)
        return answer.model_dump(by_alias=True)

    def _authorize(self, key: str, amount: str) -> dict[str, Any]:
        refusal = "no cover" if key in self.broke else None
        return told(self.bank.authorize(key, int(Decimal(amount) * 100), refusal=refusal))

    def _void(self, key: str) -> dict[str, Any]:
        return told(self.bank.void(key))

    def _capture(self, key: str) -> dict[str, Any]:
        return told(self.bank.capture(key))

    def _follow(self, service: str, facts: list[Fact]) -> None:
        """Tell everybody who listens, and note what the service itself will do about it."""
        for fact in facts:
            kind = fact.event.event_type
            reactors = RULES[service].reactors.values()
            self.reactions += [Reaction(service, each, fact) for each in reactors if each.event.event_type == kind]
            if fact.event.published:
                self.flying += [(name, fact) for name, rules in RULES.items() if kind in rules.events]


def _run(answer: Awaitable[Command | None] | Command | None) -> Command | None:
    """Run a reaction to its end: here nothing that it waits for takes time."""
    if not isawaitable(answer):
        return answer
    assert isinstance(answer, Coroutine)
    try:
        answer.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("a reaction waits for something that is not of this world")
