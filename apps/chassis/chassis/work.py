"""What can be asked of a lane's executor: a message, a dead letter, its redrive.

Each is run, purely, against a draft; it may be run many times and must give the same result on the same documents.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson
from pydantic import BaseModel
from starlette.responses import Response

from chassis import keys
from chassis.draft import Cause, Doc, Draft
from chassis.envelope import Command, Event
from chassis.problems import Conflict, Failed, KeyReused, NotFound, Problem
from chassis.reconciliation.cursor import Origin
from chassis.rules import Context, DocumentType, Handler

COMMAND_TTL = 24 * 3600
UNREAD = "unread"  # in the mark of an event that could not be read, with its letter
AGAIN = {"refused", UNREAD}  # in the mark of what may come again
REFUSED_TTL = 300  # longer than a transaction of unknown outcome can take to land
log = logging.getLogger(__name__)


def is_unread(mark: Any) -> bool:
    """Tell whether a mark says that an event could not be read here."""
    return isinstance(mark, dict) and UNREAD in mark


@dataclass(frozen=True, slots=True)
class Reply:
    """What a command answers: an HTTP status, a JSON body, headers."""

    status: int = 202
    body: Any = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, answer: BaseModel, status: int = 200) -> "Reply":
        """Answer with a model in the published language."""
        return cls(status, answer.model_dump(mode="json", by_alias=True))

    def response(self) -> Response:
        """Render for HTTP."""
        return Response(orjson.dumps(self.body), self.status, self.headers, "application/json")


class Work(Protocol):
    """Something that becomes part of a transaction."""

    def keys(self) -> Iterable[str]:
        """Name what it will look at, as far as that is known beforehand."""
        ...

    def run(self, draft: Draft) -> Any:
        """Change the draft; what it returns or raises is the answer once the transaction is stored."""
        ...

    def give_up(self, draft: Draft, reason: Exception) -> Any:
        """Change the draft instead when `run` raised or the store refuses it; may raise the answer."""
        ...


@dataclass(frozen=True, slots=True)
class Letter(Work):
    """A message that cannot be handled: kept, numbered, with its reason, and never delivered again."""

    message_id: str
    kind: str  # event | reaction | publication
    message: Any
    reason: str
    attempts: int = 1
    at: float = 0.0
    event_id: str = ""  # of an event that could not be read: another version may handle it meanwhile

    def keys(self) -> Iterable[str]:
        """Look at its own mark, and at the event's."""
        return (keys.inbox(self.message_id), *([keys.inbox(self.event_id)] if self.event_id else ()))

    def run(self, draft: Draft) -> None:
        """Number it in the head and mark the message, in the same transaction."""
        if draft.get(keys.inbox(self.message_id)) is not None:
            return
        draft.dead_letters += 1
        name = keys.dead_letter(draft.base.lane, draft.dead_letters)
        draft.put(keys.inbox(self.message_id), {"dead": name})
        if self.event_id and draft.get(keys.inbox(self.event_id)) is None:
            draft.put(keys.inbox(self.event_id), {UNREAD: name})
        draft.place(name, {
            "id": self.message_id, "kind": self.kind, "message": self.message, "reason": self.reason[:2000],
            "attempts": self.attempts, "at": self.at, "open": True,
        })  # fmt: skip
        log.error("dead letter", extra={"letter": name, "message_id": self.message_id, "reason": self.reason[:500]})

    def give_up(self, draft: Draft, reason: Exception) -> Any:
        """There is nothing below a dead letter: the broker keeps the message."""
        raise Failed("the dead letter could not be stored; the message stays with the broker") from reason


@dataclass(frozen=True, slots=True)
class Message(Work):
    """A command or an event on its way to its handler."""

    id: str
    handler: Handler
    message: Event | Command
    context: Context
    cause: Cause
    raw: Any = None  # what a dead letter keeps; None for a command, whose caller hears of a failure
    reply: Reply = Reply()
    body_hash: str = ""
    reaction: bool = False
    origin: Origin | None = None

    def keys(self) -> Iterable[str]:
        """Look at its inbox mark, at what is swept, and at the documents that its registration names."""
        yield keys.inbox(self.id)
        if self.origin:
            yield self.origin.swept
        for ref in (*self.handler.loads(self.message), *self.handler.reads(self.message)):
            yield ref.key

    def run(self, draft: Draft) -> Reply:
        """Decide and fold, unless it was done before."""
        return self._again(draft.get(keys.inbox(self.id))) if self.done(draft) else self.handle(draft)

    def done(self, draft: Draft) -> bool:
        """Tell whether it was handled or is a dead letter; what was refused, or could not be read, may come again."""
        known = draft.get(keys.inbox(self.id))
        if known is None and self.origin:
            return self.origin.over(draft.get(self.origin.swept))
        return known is not None and not (isinstance(known, dict) and not known.keys().isdisjoint(AGAIN))

    def handle(self, draft: Draft) -> Reply:
        """Decide and fold; leave the inbox mark."""
        events = self.handler.decide(draft, self.message, self.context)
        if self.handler.copy and isinstance(self.message, Event):
            self._fold_copy(draft, self.handler.copy, self.message)
        for event in events:
            draft.emit(event, self.cause)
        if self.reaction and not events:
            return self.reply  # nothing to do, and the follower's own mark moves past it
        draft.guard(self.handler.loads(self.message))
        lasting = self.reaction or self.raw is not None  # these may be repeated at any later time
        draft.put(keys.inbox(self.id), self._mark(), ttl=None if lasting else COMMAND_TTL)
        return self.reply

    def give_up(self, draft: Draft, reason: Exception) -> Any:
        """Dead-letter an event; tell a command's caller."""
        if self.raw is not None:
            why = reason.detail if isinstance(reason, Problem) else f"{type(reason).__name__}: {reason}"
            return Letter(self.id, "event", self.raw, why, at=self.cause.now).run(draft)
        if isinstance(reason, Problem):
            return self._refuse(draft, reason)
        log.error("a command failed", exc_info=reason, extra={"command": type(self.message).__name__})
        raise Failed("the command failed and nothing was changed; the service's log has the cause") from reason

    def _refuse(self, draft: Draft, problem: Problem) -> Problem:
        """Answer a refusal, and keep an earlier try of unknown outcome, here or at a replica, from landing after it."""
        if self.body_hash and not self.done(draft):
            draft.put(keys.inbox(self.id), {"refused": int(problem.status)}, ttl=REFUSED_TTL)
        return problem

    def _fold_copy(self, draft: Draft, kind: DocumentType[Any], event: Event) -> None:
        ref = kind(event.aggregate_id)
        doc, revision = draft.doc(ref), self.context.revision
        if revision is not None and revision <= doc.revision:
            return  # brokers promise no order: the highest revision stays
        draft.put(ref.key, Doc.of(max(doc.revision, revision or 0), kind.apply(doc.state, event)))

    def _mark(self) -> Any:
        if self.raw is not None or self.reaction:
            return 1
        return {"hash": self.body_hash, "status": self.reply.status, "body": self.reply.body,
                "headers": dict(self.reply.headers)}  # fmt: skip

    def _again(self, known: Any) -> Reply:
        if not isinstance(known, dict) or "hash" not in known:
            return self.reply
        if known["hash"] != self.body_hash:
            raise KeyReused("this Idempotency-Key was used with another body; use a new key for a new request")
        return Reply(known["status"], known["body"], known["headers"])


@dataclass(frozen=True, slots=True)
class Redrive(Work):
    """Handle a dead letter after all: mark `dead` -> handled, handler, letter closed, in one transaction."""

    letter: str
    message: Message | None  # None where nothing is left to decide, only the letter to close

    def keys(self) -> Iterable[str]:
        """Look at the letter and whatever its message looks at."""
        return (self.letter, *(self.message.keys() if self.message else ()))

    def run(self, draft: Draft) -> None:
        """Raises `NotFound` or `Conflict` where there is nothing to redrive, or what the handler raises."""
        letter = draft.get(self.letter)
        if letter is None:
            raise NotFound(f"there is no dead letter {self.letter}")
        if not letter["open"]:
            raise Conflict(f"{self.letter} was already redriven")
        if self.message and self._due(draft, self.message):
            self.message.handle(draft)
        draft.put(keys.inbox(letter["id"]), 1)  # not the message's own mark where it could not be read at first
        draft.put(self.letter, {**letter, "open": False})

    def _due(self, draft: Draft, message: Message) -> bool:
        """Tell whether it was not handled meanwhile; a mark that was swept was that of a handled one."""
        mark = draft.get(keys.inbox(message.id))
        return mark in ({"dead": self.letter}, {UNREAD: self.letter}) or not (mark or message.done(draft))

    def give_up(self, draft: Draft, reason: Exception) -> Any:
        """Leave the letter as it was."""
        raise reason
