"""One lane's executor: takes what is waiting, runs the pure code, commits one transaction, learns its fate, answers.

A verdict comes only from the head. After an unknown outcome the head is moved, by whomever; then the old attempt has
either landed or is dead for ever, and the batch is composed anew: the inbox marks say what is already done.
"""

import asyncio
import logging
import random
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from chassis import keys
from chassis.draft import Base, Draft, NotLoaded
from chassis.journal import PAUSE, Fenced, Head, Lanes
from chassis.problems import Failed, OutcomeUnknown, Unprocessed
from chassis.rules import Rules
from chassis.sidecar import Delete, ETagMismatch, Operation, Put, Refused, SidecarError, Stored, Unanswered
from chassis.work import Message, Work

ROUNDS = 8  # of reading what a message turned out to look at
DOUBTS = 3  # unknown outcomes of a batch before its halves are tried apart
CRASHES = 3  # after that many tries that ended the process, a message is a dead letter
REMEMBERED = 5000  # events kept for followers; older records are read back
PAGE = 32
ATTEMPT_TTL = 3600
_UNREAD: Final = object()  # the outcome of what looked at something that has yet to be read
log = logging.getLogger(__name__)


class Item:
    """Work with somebody waiting for it."""

    __slots__ = ("answer", "size", "taken", "work")

    def __init__(self, work: Work, size: int) -> None:
        """`size` in bytes, as it came in."""
        self.work, self.size, self.taken = work, size, False
        self.answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def settle(self, outcome: Any) -> None:
        """Tell the one who waits, if there still is one."""
        if self.answer.done():
            return
        if isinstance(outcome, BaseException):
            self.answer.set_exception(outcome)
            self.answer.exception()  # nobody may be left to look
        else:
            self.answer.set_result(outcome)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A transaction that was sent, and what it would answer."""

    before: Head
    head: Head
    operations: list[Operation]
    outcomes: list[Any]
    record: dict[str, Any] | None
    size: int


class Executor:
    """Owner of one lane. `run` ends with `Fenced` when another process took it."""

    def __init__(
        self, service: str, rules: Rules, lanes: Lanes, number: int, head: Head, *,
        clock: Callable[[], float] = time.time, lease: float = 10.0, queue_items: int = 4096,
    ) -> None:  # fmt: skip
        """`head` is the one that this process wrote when it took the lane."""
        self.service, self.rules, self.sidecar, self.lanes = service, rules, lanes.sidecar, lanes
        self.number, self.head, self.clock, self.lease, self.queue_items = number, head, clock, lease, queue_items
        self.marks = {"relay": head.published, **head.followers}
        self.careful_until = 0.0
        self.conflicts = self.commits = 0
        self._renewed = asyncio.get_running_loop().time()  # when the head was last written
        self.accepting, self.stopping, self.closed = True, False, False
        self._queue: deque[Item] = deque()
        self._current: Sequence[Item] = ()
        self._waiting = asyncio.Event()
        self._moved = asyncio.Event()
        self._recent: OrderedDict[int, dict[str, Any]] = OrderedDict()
        self._remembered = 0
        self._survived: set[str] = set()

    # what others call

    @property
    def backlog(self) -> int:
        """Records not yet known to be published."""
        return self.head.tail - self.marks["relay"]

    @property
    def queued(self) -> int:
        """Items that wait."""
        return len(self._queue)

    def enqueue(self, work: Work, size: int = 0) -> Item:
        """Put work into the queue; a full one refuses with `Unprocessed`."""
        if len(self._queue) >= self.queue_items or not self.accepting:
            raise Unprocessed("this service is busy; nothing was stored, try again shortly")
        item = Item(work, size)
        self.adopt([item])
        return item

    async def submit(self, work: Work, size: int = 0) -> Any:
        """Wait, as long as it takes, for a place in the queue and for the outcome."""
        while len(self._queue) >= self.queue_items or self.closed:
            if self.closed:
                raise Fenced
            await self._moved.wait()
        item = Item(work, size)
        self.adopt([item])
        return await item.answer

    async def submit_within(self, work: Work, size: int, seconds: float) -> Any:
        """Wait at most `seconds`: then `Unprocessed` if it was never sent, else `OutcomeUnknown`."""
        item = self.enqueue(work, size)
        done, _ = await asyncio.wait({item.answer}, timeout=seconds)
        if done:
            return item.answer.result()
        if not item.taken:
            item.settle(Unprocessed("this service did not get to it in time; nothing was stored, try again"))
        else:
            item.settle(OutcomeUnknown("the outcome is not known yet; ask again with the same Idempotency-Key"))
        return item.answer.result()

    async def records(self, after: int) -> list[tuple[int, dict[str, Any]]]:
        """Return some records behind number `after`, in order; waits until there is one. Raises `Fenced`."""
        while self.head.tail <= after:
            if self.closed:
                raise Fenced
            await self._moved.wait()
        wanted = range(after + 1, min(self.head.tail, after + PAGE) + 1)
        if len(recent := self.recent(wanted)) == len(wanted):
            return list(recent.items())
        stored = await self.sidecar.read([keys.record(self.number, n) for n in wanted])
        found = [(n, stored.get(keys.record(self.number, n))) for n in wanted]
        if missing := [n for n, s in found if s is None]:
            raise Failed(f"record {missing[0]} of lane {self.number} is missing from the journal")
        return [(n, s.value) for n, s in found if s]

    def recent(self, numbers: Iterable[int]) -> dict[int, dict[str, Any]]:
        """Return those of some records that are in memory still."""
        return {n: self._recent[n] for n in numbers if n in self._recent}

    def close(self) -> list[Item]:
        """Take nothing more, the lane is lost; hand over what was not answered."""
        self.accepting, self.closed = False, True
        items = [i for i in (*self._current, *self._queue) if not i.answer.done()]
        self._queue.clear()
        self._moved.set()
        return items

    def adopt(self, items: Iterable[Item]) -> None:
        """Queue items, new ones or those that another executor of this process could not finish."""
        self._queue.extend(items)
        self._waiting.set()

    def stop(self) -> None:
        """Accept nothing more; `run` returns when the queue is empty."""
        self.accepting, self.stopping = False, True
        self._waiting.set()

    # the loop

    async def run(self) -> None:
        """Commit what comes until stopped."""
        while self._queue or not self.stopping:
            batch = self._current = await self._take()
            async for group in self._carefully(batch):
                await self._settle(group)
            self._current = ()

    async def save_marks(self) -> None:
        """Write the head once more, so that followers resume where they are."""
        await self._settle([])

    async def _take(self) -> list[Item]:
        self._waiting.clear()
        if not self._queue and not self.stopping:
            idle = asyncio.get_running_loop().call_later(self.lease / 3, self._waiting.set)
            await self._waiting.wait()
            idle.cancel()
            if not self._queue:
                return []  # an idle owner rewrites its head: that is its lease
        batch: list[Item] = []
        size = 0
        while self._queue and len(batch) < keys.BATCH_ITEMS and size < keys.BATCH_BYTES:
            item = self._queue.popleft()
            if not item.answer.done():
                item.taken = True
                batch.append(item)
                size += item.size
        self._wake()
        return batch

    async def _settle(self, items: Sequence[Item]) -> None:
        last: Attempt | None = None
        reason: Exception = Failed("the store did not take it")
        doubts = 0
        while True:
            try:
                attempt = await self._prepare(items, last)
                if attempt is None:
                    return
                if doubts >= DOUBTS or (attempt.size > keys.TRANSACTION_BYTES and len(items) > 1):
                    break
                last = attempt
                await self.sidecar.transact(attempt.operations)
            except ETagMismatch:  # another replica moved a document: all of it again
                self.conflicts += 1
                await asyncio.sleep(PAUSE * random.random())  # noqa: S311 - jitter
            except Refused as refused:
                reason = refused
                break
            except Unanswered:
                doubts += 1
                await self.lanes.settle(self.number, last.before.commit if last else "")
            except SidecarError:
                await asyncio.sleep(PAUSE)
            else:
                self._committed(items, attempt)
                return
        await self._halve(items, reason)

    @property
    def _due(self) -> bool:
        """Tell whether the head must be written, though nothing else is: that is our lease, and keeps our marks."""
        return asyncio.get_running_loop().time() >= self._renewed + self.lease / 3

    async def _prepare(self, items: Sequence[Item], last: Attempt | None) -> Attempt | None:
        """Compose the next attempt; None if the last one landed or nothing needs to be written."""
        draft, outcomes = await self._compose(items)
        if last and draft.base.head.commit == last.head.commit:
            self._committed(items, last)
            return None
        if draft.base.head.epoch != self.head.epoch:
            raise Fenced
        if items and not draft.changed and not self._due:
            self._answer(items, outcomes)
            return None
        return self._attempt(draft, outcomes)

    async def _compose(self, items: Sequence[Item]) -> tuple[Draft, list[Any]]:
        wanted = {keys.head(self.number)}.union(*(_keys(i.work) for i in items))
        stored = await self._read(wanted)
        draft = Draft(Base(self.rules, self.service, self.number, self._head(stored), stored, wanted))
        outcomes: list[Any] = [None] * len(items)
        # who was told "unknown" may have asked elsewhere since, and only that answer may count
        left = [n for n, item in enumerate(items) if not item.answer.done()]
        for _ in range(ROUNDS):
            wanted = set()
            for n in left:
                outcomes[n] = _run(items[n].work, draft, wanted)
            left = [n for n in left if outcomes[n] is _UNREAD]  # the others need not wait for what these look at
            if not left:
                return draft, outcomes
            draft.base.stored |= await self._read(wanted)
            draft.base.asked |= wanted
        raise RuntimeError(f"still reading after {ROUNDS} rounds: {sorted(wanted)[:5]}")

    async def _read(self, wanted: set[str]) -> dict[str, Stored]:
        while True:
            try:
                return await self.sidecar.read(sorted(wanted))
            except Refused:  # a key that no repetition will make readable
                raise
            except SidecarError:
                await asyncio.sleep(PAUSE)

    def _head(self, stored: dict[str, Stored]) -> Head:
        head = stored.get(keys.head(self.number))
        if head is None:
            raise Fenced
        return Head(**head.value)

    def _attempt(self, draft: Draft, outcomes: list[Any]) -> Attempt:
        before = draft.base.head
        marks = {name: max(number, draft.marks.get(name, 0)) for name, number in self.marks.items()}
        # followers that only another version of this service knows keep their place; generations of views pass away
        kept = {name: number for name, number in before.followers.items() if not name.startswith("view/")}
        head = before.rewritten(
            tail=before.tail + bool(draft.events), published=max(before.published, marks.pop("relay")),
            followers=kept | marks, dead_letters=draft.dead_letters,
        )  # fmt: skip
        record = {"commit": head.commit, "at": self.clock(), "events": draft.events} if draft.events else None
        return Attempt(before, head, draft.operations(head, record), outcomes, record, draft.size)

    def _committed(self, items: Sequence[Item], attempt: Attempt) -> None:
        self.head, self._renewed = attempt.head, asyncio.get_running_loop().time()
        self.commits += 1
        for name in self.marks.keys() & attempt.head.followers:
            self.marks[name] = max(self.marks[name], attempt.head.followers[name])
        if attempt.record:
            self._remember(attempt.head.tail, attempt.record)
            self._wake()
        self._answer(items, attempt.outcomes)

    def _wake(self) -> None:
        """Let those look again who wait for room in the queue, or for records."""
        self._moved.set()
        self._moved = asyncio.Event()

    def _remember(self, number: int, record: dict[str, Any]) -> None:
        self._recent[number] = record
        self._remembered += len(record["events"])
        while self._remembered > REMEMBERED and len(self._recent) > 1:
            self._remembered -= len(self._recent.popitem(last=False)[1]["events"])

    @staticmethod
    def _answer(items: Sequence[Item], outcomes: Sequence[Any]) -> None:
        for item, outcome in zip(items, outcomes, strict=True):
            item.settle(outcome)

    async def _halve(self, items: Sequence[Item], error: Exception) -> None:
        if len(items) > 1:
            await self._settle(items[: len(items) // 2])
            await self._settle(items[len(items) // 2 :])
        elif not items:
            await asyncio.sleep(PAUSE)
        elif isinstance(items[0].work, GivenUp):
            items[0].settle(Failed("neither this message nor its dead letter can be stored"))
        else:
            items[0].work = GivenUp(items[0].work, error)
            await self._settle(items)

    async def _carefully(self, batch: list[Item]) -> AsyncIterator[list[Item]]:
        """After an unclean end: count each try before it is made, and try alone what was in hand at the last end."""
        names = {i: i.work.id for i in batch if isinstance(i.work, Message)}
        if not names or asyncio.get_running_loop().time() >= self.careful_until:
            yield batch
            return
        stored = await self._read({keys.attempt(n) for n in names.values()})
        tries = {n: stored[k].value if (k := keys.attempt(n)) in stored else 0 for n in names.values()}
        over, self._survived = self._survived, set()
        tries |= dict.fromkeys(over & tries.keys(), 0)  # its last try did not end this process
        fresh = [i for i in batch if i not in names or not tries[names[i]]]
        await self._count_tries({names[i]: 1 for i in fresh if i in names}, over - tries.keys())
        yield fresh
        for item, name in names.items():
            if tries[name] >= CRASHES:
                item.work = GivenUp(item.work, Failed(f"this process ended {CRASHES} times while handling it"))
            elif tries[name]:
                await self._count_tries({name: tries[name] + 1})
            if tries[name]:
                yield [item]
        self._survived = set(names.values())

    async def _count_tries(self, tries: dict[str, int], over: Iterable[str] = ()) -> None:
        """Write the counts, and forget those of what is `over`."""
        operations: list[Operation] = [Delete(keys.attempt(name)) for name in sorted(over)]
        operations += [Put(keys.attempt(name), count, ttl=ATTEMPT_TTL) for name, count in sorted(tries.items())]
        while operations:
            try:
                await self.sidecar.transact(operations)
                break
            except SidecarError:
                await asyncio.sleep(PAUSE)


class GivenUp(Work):
    """Work that cannot be done, in the form in which it ends: a dead letter, or an error for its caller."""

    def __init__(self, work: Work, reason: Exception) -> None:
        """`reason` becomes the letter's."""
        self.work, self.reason = work, reason

    def keys(self) -> Iterable[str]:
        """Look at what the work looks at."""
        return _keys(self.work)

    def run(self, draft: Draft) -> Any:
        """End it, unless it was done after all, here or elsewhere."""
        if isinstance(self.work, Message) and self.work.done(draft):
            return self.work.run(draft)
        return self.work.give_up(draft, self.reason)

    def give_up(self, draft: Draft, reason: Exception) -> Any:
        """Raise what ended it."""
        raise reason


def _keys(work: Work) -> set[str]:
    try:
        return set(work.keys())
    except Exception:  # noqa: BLE001 - the same error comes back from `run`, where it is dealt with
        return set()


def _run(work: Work, draft: Draft, wanted: set[str]) -> Any:
    """Return the answer to the work, to its giving up, or what even that raised; `_UNREAD` with what is `wanted`."""
    try:
        return _merged(draft, work.run)
    except NotLoaded as more:
        wanted.update(more.keys)
        return _UNREAD
    except Exception as error:  # noqa: BLE001 - whatever pure code raises is that message's end, not its neighbours'
        return error if isinstance(work, GivenUp) else _run(GivenUp(work, error), draft, wanted)


def _merged(draft: Draft, run: Callable[[Draft], Any]) -> Any:
    fork = draft.fork()
    outcome = run(fork)
    draft.merge(fork)
    return outcome
