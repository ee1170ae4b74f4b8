"""What follows a lane's journal: the relay to the broker, and reactors (deadlines are reactors that come later).

A follower's mark is the highest record up to which everything is settled. It rides in the next commit's head; what
lies between a lost mark and the truth is done again, and absorbed by inbox marks.
"""

import asyncio
import inspect
import logging
import math
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

from chassis.draft import Cause, new_id, states
from chassis.envelope import Command, Envelope
from chassis.executor import Executor
from chassis.operations import tracing
from chassis.problems import Problem
from chassis.rules import Context, Outside, Reactor, Ref, Rules, S
from chassis.sidecar import Entry, Refused, Sidecar, SidecarError, call
from chassis.work import Letter, Message

PUBLISH_ENTRIES = 200
REFUSALS = 20  # of one event while others pass, before it is put aside
FIRST_PAUSE = 0.1
LAST_PAUSE = 5.0
ANSWERS = 10_000  # kept; the oldest go first
log = logging.getLogger(__name__)


class Follower(Protocol):
    """Something that walks a lane from its mark to its tail, for ever."""

    name: str
    history: bool  # whether, when new, it wants what lies before it

    async def follow(self, executor: Executor) -> None:
        """Walk; never returns."""
        ...


class Progress:
    """The highest number up to which every record is settled, though they settle in any order."""

    def __init__(self, number: int) -> None:
        """Start behind record `number`."""
        self.settled = number
        self._open: dict[int, int] = {}

    def begin(self, number: int, count: int) -> None:
        """Record `number` has `count` things to settle; numbers come in order."""
        self._open[number] = count
        self._advance()

    def done(self, number: int) -> int:
        """One thing of record `number` is settled; returns the mark."""
        self._open[number] -= 1
        self._advance()
        return self.settled

    def _advance(self) -> None:
        while self._open.get(self.settled + 1) == 0:
            del self._open[self.settled + 1]
            self.settled += 1


@dataclass(slots=True)
class _Outgoing:
    number: int
    entry: Entry
    refusals: int = 0


def relayed(event: dict[str, Any]) -> Entry:
    """Return a recorded event as it is published."""
    return Entry(event["eventId"], event, str(event["subject"]).partition("/")[2])


class Relay:
    """Publishes committed events in bulk and repeats only the entries that were not taken."""

    history = True
    name = "relay"

    def __init__(self, sidecar: Sidecar, topic: str) -> None:
        """`topic` is the service's own."""
        self._sidecar, self._topic = sidecar, topic
        self.failing, self.retried = False, 0  # events that were not taken and are published again

    async def follow(self, executor: Executor) -> None:
        """Publish from the mark on."""
        progress = Progress(executor.marks[self.name])
        waiting: deque[_Outgoing] = deque()
        read, pause = progress.settled, FIRST_PAUSE
        while True:
            if len(waiting) < PUBLISH_ENTRIES and (not waiting or executor.head.tail > read):
                read = self._queue(await executor.records(read), waiting, progress)
            batch = [waiting.popleft() for _ in range(min(len(waiting), PUBLISH_ENTRIES))]
            failed = await self._publish(batch) if batch else []
            for sent in batch:
                if sent not in failed:
                    progress.done(sent.number)
            waiting.extend(failed)
            executor.marks[self.name] = progress.settled
            self.failing = bool(failed) and len(failed) == len(batch)
            if failed:
                self.retried += len(failed)
                await self._put_aside(executor, waiting, progress, passed=len(failed) < len(batch))
                await asyncio.sleep(pause)
            pause = min(pause * 2, LAST_PAUSE) if self.failing else FIRST_PAUSE

    @staticmethod
    def _queue(records: list[tuple[int, dict[str, Any]]], waiting: deque[_Outgoing], progress: Progress) -> int:
        for number, record in records:
            events = [e for e in record["events"] if not e.get("private")]
            progress.begin(number, len(events))
            for event in events:
                waiting.append(_Outgoing(number, relayed(event)))
        return records[-1][0]

    async def _publish(self, batch: list[_Outgoing]) -> list[_Outgoing]:
        try:
            failed = await self._sidecar.publish(self._topic, [o.entry for o in batch])
        except Refused:  # as a whole, for its size: nothing was taken
            if len(batch) == 1:
                return batch
            half = len(batch) // 2
            return await self._publish(batch[:half]) + await self._publish(batch[half:])
        except SidecarError as error:
            log.warning("nothing was published", extra={"topic": self._topic, "reason": str(error)[:300]})
            return batch
        return [o for o in batch if o.entry.entry_id in failed]

    async def _put_aside(
        self, executor: Executor, waiting: deque[_Outgoing], progress: Progress, *, passed: bool,
    ) -> None:  # fmt: skip
        """An event that the broker alone refuses must not hold back its lane: consumers find it in the journal."""
        for outgoing in list(waiting):
            outgoing.refusals += passed
            if outgoing.refusals > REFUSALS:
                event = dict(outgoing.entry.event)
                reason = "the broker refuses this event while it takes others"
                await executor.submit(
                    Letter(f"publication/{event['eventId']}", "publication", event, reason, REFUSALS, executor.clock())
                )
                waiting.remove(outgoing)
                executor.marks[self.name] = progress.done(outgoing.number)


class Answers:
    """What others answered lately, for questions whose answer may be a little old."""

    def __init__(self) -> None:
        """Start empty."""
        self._kept: OrderedDict[str, tuple[float, Any]] = OrderedDict()

    async def get(self, question: str, fresh_for: float, ask: Callable[[], Awaitable[Any]]) -> Any:
        """Return an answer that is at most `fresh_for` seconds old: a kept one, or that of `ask`."""
        now = asyncio.get_running_loop().time()
        at, answer = self._kept.get(question, (-math.inf, None))
        if now - at > fresh_for:
            answer = await ask()
            self._kept[question] = (now, answer)
            while len(self._kept) > ANSWERS:
                self._kept.popitem(last=False)
        return answer


class World(Outside):
    """The outside world as one reaction sees it."""

    def __init__(self, commands: "Commands", idempotency_key: str, attempt: int) -> None:
        """Calls carry `idempotency_key`, the same at every repetition."""
        self._commands, self.idempotency_key, self.attempt = commands, idempotency_key, attempt

    async def invoke(
        self, app: str, method: str, body: Mapping[str, Any] | None = None, *, fresh_for: float = 0.0
    ) -> Any:
        """Call another service; raises the `Problem` it refused with, or `SidecarError`."""

        async def ask() -> Any:
            headers = {"idempotency-key": self.idempotency_key}
            return (await call(self._commands.sidecar, app, method, body=body, headers=headers, alone=True))[1]

        return await (self._commands.answers.get(f"{app}/{method}/{body}", fresh_for, ask) if fresh_for else ask())

    async def bind(self, binding: str, operation: str, data: str, metadata: Mapping[str, str]) -> None:
        """Call an output binding; raises `SidecarError`."""
        with tracing.span(operation, kind="CLIENT", remote=binding):
            await self._commands.sidecar.bind(binding, operation, data, metadata)

    async def read(self, ref: Ref[S]) -> S | None:
        """Read one document's state; raises `SidecarError`."""
        return (await states(self._commands.sidecar, self._commands.rules, [ref])).get(ref)


class Reaction:
    """Runs one reactor over a lane with bounded concurrency, and submits what it learnt as a command."""

    def __init__(self, reactor: Reactor, commands: "Commands") -> None:
        """`commands` turns a command into a message."""
        self._reactor, self._commands = reactor, commands
        self.name = f"{'deadline' if reactor.after else 'reactor'}/{reactor.name}"
        self.history = reactor.after > 0  # what is overdue must end; what has been done must not be done again

    async def follow(self, executor: Executor) -> None:
        """React from the mark on."""
        progress = Progress(executor.marks[self.name])
        read = progress.settled
        slots = asyncio.Semaphore(self._reactor.concurrency)
        async with asyncio.TaskGroup() as tasks:
            while True:
                for number, record in await executor.records(read):
                    await self._until_due(executor, record["at"])
                    events = [e for e in record["events"] if e["eventType"] == self._reactor.event.event_type]
                    progress.begin(number, len(events))
                    executor.marks[self.name] = progress.settled
                    for event in events:
                        await slots.acquire()
                        tasks.create_task(self._react(executor, event, number, progress, slots))
                    read = number

    async def _until_due(self, executor: Executor, at: float) -> None:
        while (wait := at + self._reactor.after - executor.clock()) > 0 and self._reactor.after:  # noqa: ASYNC110 - a clock
            await asyncio.sleep(min(wait, 1.0))

    async def _react(
        self, executor: Executor, event: dict[str, Any], number: int, progress: Progress, slots: asyncio.Semaphore
    ) -> None:
        try:
            await self._until_settled(executor, event)
            executor.marks[self.name] = progress.done(number)
        finally:
            slots.release()

    async def _until_settled(self, executor: Executor, event: dict[str, Any]) -> None:
        tracing.follow(event.get("traceparent"))
        key = f"{self.name}/{event['eventId']}"
        attempt, pause = 1, FIRST_PAUSE
        while (reason := await self._attempt(executor, event, key, attempt)) is not None:
            told = {"reactor": self.name, "attempt": attempt, "reason": reason[:300]}
            alarm = self._reactor.alarm and attempt % self._reactor.alarm == 0
            log.log(logging.CRITICAL if alarm else logging.WARNING, "a reaction failed", extra=told)
            if attempt == self._reactor.attempts:
                letter = Letter(key, "reaction", event, reason, attempt, executor.clock())
                await executor.submit(letter)
                return
            await asyncio.sleep(pause)
            attempt, pause = attempt + 1, min(pause * 2, LAST_PAUSE)

    async def _attempt(self, executor: Executor, event: dict[str, Any], key: str, attempt: int) -> str | None:
        """Return why it failed, or None; an unknown outcome is a failure: it is asked again under the same key."""
        try:
            # A deadline comes so late that its span would stretch every trace; what follows from it is seen.
            with nullcontext() if self._reactor.after else tracing.span(self.name):
                if message := await self._commands.react(self._reactor, event, key, attempt):
                    await executor.submit(message)
        except (Problem, SidecarError) as error:
            return str(error)
        except Exception as error:
            log.exception("a reactor raised", extra={"reactor": self.name})
            return f"{type(error).__name__}: {error}"
        return None


class Commands:
    """Runs a reactor and turns what it answers into a message for the executor."""

    def __init__(self, rules: Rules, sidecar: Sidecar, clock: Callable[[], float]) -> None:
        """`rules` are the service's; `clock` gives seconds since the epoch."""
        self.rules, self.sidecar, self.answers, self._clock = rules, sidecar, Answers(), clock

    async def react(self, reactor: Reactor, event: dict[str, Any], key: str, attempt: int) -> Message | None:
        """Ask a reactor what follows from one of our own recorded events; raises what it raises."""
        answer = reactor.react(self.rules.catalogue.read(Envelope.parse(event)), World(self, key, attempt))
        command = await answer if inspect.isawaitable(answer) else answer
        return None if command is None else self.reaction(command, key, event)

    def reaction(self, command: Command, key: str, event: dict[str, Any]) -> Message:
        """Wrap a command that follows from `event`."""
        handler = self.rules.commands[type(command).__name__]
        correlation = str(event.get("correlationId") or "")
        now = self._clock()
        cause = Cause(new_id().int, now, key, correlation, tracing.traceparent())
        return Message(key, handler, command, Context(now, key, correlation), cause, reaction=True)
