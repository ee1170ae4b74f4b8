"""Lanes: where a service's records stand, who may write them, and how a writer is replaced.

A lane is one writer's numbered sequence of records. Its head document is rewritten, by ETag, in every commit: whoever
read an older head can never commit again. That single rule gives fencing, verdicts and takeover.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from chassis import keys
from chassis.sidecar import ETagMismatch, Put, Sidecar, SidecarError, Stored, Unanswered

PAUSE = 0.05


class Fenced(Exception):
    """Another process owns this lane now."""


@dataclass(frozen=True, slots=True)
class Head:
    """State of a lane. Records are numbered 1..tail; `published` and each follower's mark are settled up to there."""

    journal_id: str
    owner: str | None = None
    epoch: int = 0
    tail: int = 0
    commit: str = ""
    published: int = 0
    followers: dict[str, int] = field(default_factory=dict)
    dead_letters: int = 0

    def rewritten(self, **changes: Any) -> "Head":
        """Return a copy under a new commit id."""
        return Head(**{**self.value(), "commit": uuid4().hex, **changes})

    def value(self) -> dict[str, Any]:
        """Return the stored form."""
        return {name: getattr(self, name) for name in self.__slots__}  # asdict takes ten times as long


@dataclass(frozen=True, slots=True)
class Lane:
    """A lane as it was read; `etag` is None where the head was never written."""

    number: int
    head: Head
    etag: str | None

    def behind(self, followers: Iterable[str]) -> bool:
        """Tell whether anything that follows this lane has not reached its tail."""
        marks = [self.head.followers.get(name, 0) for name in followers]
        return min([self.head.published, *marks]) < self.head.tail


class Lanes:
    """The grow-only directory of a store's lanes, and the only ways in which a lane changes hands."""

    def __init__(self, sidecar: Sidecar, owner: str) -> None:
        """`owner` is this process's instance name."""
        self.sidecar, self.owner = sidecar, owner
        self.journal_id = ""
        self._known = 0  # lanes

    async def all(self) -> list[Lane]:
        """Read every lane, in one go where none is new; creates the directory, with one lane, in an empty store."""
        stored = await self.sidecar.read([keys.LANES, *map(keys.head, range(self._known))])
        directory = stored.get(keys.LANES) or await self._directory()
        self.journal_id, lanes = directory.value["journalId"], directory.value["lanes"]
        if new := range(self._known, lanes):
            stored |= await self.sidecar.read([keys.head(n) for n in new])
            self._known = lanes
        return [self._lane(n, stored.get(keys.head(n))) for n in range(lanes)]

    async def open(self) -> Lane:
        """Add a lane: in the directory first, so that no reader can miss its records."""
        while True:
            stored = await self._directory()
            grown = {**stored.value, "lanes": stored.value["lanes"] + 1}
            if await self._swap(Put(keys.LANES, grown, etag=stored.etag)):
                return self._lane(stored.value["lanes"], None)

    async def take(self, lane: Lane, followers: dict[str, bool]) -> Head | None:
        """Become the owner by raising the epoch; None if somebody else moved first.

        `followers` says of each whether it wants the lane's history (True) or only what comes (False): asked once,
        when a follower is new to a lane that has records.
        """
        new = {name: 0 if history else lane.head.tail for name, history in followers.items()}
        head = lane.head.rewritten(owner=self.owner, epoch=lane.head.epoch + 1, followers=new | lane.head.followers)
        return head if await self._write(lane, head) else None

    async def release(self, number: int, epoch: int) -> None:
        """Give a lane back, unless it is no longer ours."""
        while True:
            lane = await self.one(number)
            if lane.head.epoch != epoch or lane.head.owner is None:
                return
            if await self._write(lane, lane.head.rewritten(owner=None)):
                return

    async def one(self, number: int) -> Lane:
        """Read one lane."""
        return self._lane(number, (await self.sidecar.read([keys.head(number)])).get(keys.head(number)))

    async def settle(self, number: int, commit_before: str) -> None:
        """Make a transaction of unknown outcome either committed or dead for ever.

        It carried the ETag of the head whose commit id is `commit_before`. When the head has moved, by whomever, that
        ETag is stale; as long as it has not, we move it ourselves. Raises nothing: it tries until it knows.
        """
        while True:
            try:
                lane = await self.one(number)
                if lane.head.commit != commit_before:
                    return
                fence = Put(keys.head(number), lane.head.rewritten().value(), etag=lane.etag, insert=lane.etag is None)
                await self.sidecar.transact([fence])
            except SidecarError:
                await asyncio.sleep(PAUSE)
            else:
                return

    async def _write(self, lane: Lane, head: Head) -> bool:
        operation = Put(keys.head(lane.number), head.value(), etag=lane.etag, insert=lane.etag is None)
        try:
            await self.sidecar.transact([operation])
        except (ETagMismatch, Unanswered):  # it may have landed all the same, or land later
            await self.settle(lane.number, lane.head.commit)
            return (await self.one(lane.number)).head.commit == head.commit
        return True

    async def _directory(self) -> Stored:
        while True:
            stored = (await self.sidecar.read([keys.LANES])).get(keys.LANES)
            if stored:
                self.journal_id = stored.value["journalId"]
                return stored
            await self._swap(Put(keys.LANES, {"journalId": uuid4().hex, "lanes": 1}, insert=True))

    async def _swap(self, operation: Put) -> bool:
        try:
            await self.sidecar.transact([operation])
        except (ETagMismatch, Unanswered):
            return False
        return True

    def _lane(self, number: int, stored: Stored | None) -> Lane:
        if stored is None:
            return Lane(number, Head(self.journal_id), None)
        return Lane(number, Head(**stored.value), stored.etag)
