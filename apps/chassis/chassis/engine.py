"""One replica: takes a lane, runs its executor and followers, watches for lanes that nobody looks after.

The main lane takes what comes in. An abandoned lane (released with work left, or its head unchanged for a lease on our
own monotonic clock) is adopted whole: followers run on it until each is at its tail, then it is given back.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any
from uuid import uuid4

from chassis import keys
from chassis.executor import Executor, Item
from chassis.followers import Commands, Follower, Reaction, Relay
from chassis.journal import PAUSE, Fenced, Head, Lane, Lanes
from chassis.problems import Conflict, Unprocessed
from chassis.process import Settings
from chassis.rules import Rules
from chassis.sidecar import Delete, Put, Sidecar, SidecarError, Unreachable
from chassis.views import Views
from chassis.work import Reply, Work

log = logging.getLogger(__name__)


class StoreUnfit(Exception):
    """This store cannot hold a ledger."""


async def probe(sidecar: Sidecar) -> None:
    """Try what the engine relies on, under keys of our own, and believe only what can be read afterwards.

    Raises `StoreUnfit` with what is wrong, `SidecarError` where the store does not answer.
    """
    first, second = sorted(keys.key("probe", uuid4().hex) for _ in range(2))
    await sidecar.transact([Put(first, 1, insert=True)])
    stale = (await sidecar.read([first]))[first].etag
    await sidecar.transact([Put(first, 2, etag=stale)])
    await _must_fail(sidecar, [Put(second, 1), Put(first, 3, etag=stale)])
    await _must_fail(sidecar, [Put(second, 1), Put(first, 3, insert=True)])
    found = {k: s.value for k, s in (await sidecar.read([first, second])).items()}
    await sidecar.transact([Delete(first), Delete(second)])
    if found != {first: 2}:
        raise StoreUnfit(
            "the state store applied part of a transaction that had to fail, so it cannot hold a ledger: Redis, for "
            "one, has no rollback. Use SQLite on one host or PostgreSQL (components/store)"
        )


async def _must_fail(sidecar: Sidecar, operations: list[Put]) -> None:
    try:
        await sidecar.transact(operations)
    except Unreachable:
        raise
    except SidecarError:
        return


class Running:
    """A lane in our hands: its executor, and its followers as tasks that are started again when they fail."""

    def __init__(self, executor: Executor, *, adopted: bool) -> None:
        """`adopted`: to be given back when every follower is at the tail."""
        self.executor, self.adopted = executor, adopted
        self.followers: dict[str, asyncio.Task[None]] = {}
        self.relay: Relay | None = None
        self.ended = False

    async def run(self, followers: Iterable[Follower]) -> None:
        """Run until the executor is stopped; raises `Fenced`."""
        self.refresh(followers)
        try:
            await self.executor.run()
        finally:
            self.ended = True
            for task in self.followers.values():
                task.cancel()

    def refresh(self, followers: Iterable[Follower]) -> None:
        """Start followers that are new, end those that are gone; nobody would end what starts after our end."""
        if self.ended:
            return
        wanted = {f.name: f for f in followers}
        for name in [n for n in self.executor.marks if n.startswith("view/") and n not in wanted]:
            del self.executor.marks[name]  # a generation that is read no more
            if name in self.followers:
                self.followers.pop(name).cancel()
        for name in [n for n in wanted if n not in self.followers]:  # in order: a run can be repeated
            self.executor.marks.setdefault(name, 0)
            follower = wanted[name]
            self.followers[name] = asyncio.create_task(_forever(follower, self.executor))
            if isinstance(follower, Relay):
                self.relay = follower

    @property
    def drained(self) -> bool:
        """Tell whether every follower has begun and is at the tail."""
        return bool(self.followers) and all(
            self.executor.marks[name] >= self.executor.head.tail for name in self.followers
        )

    @property
    def busy(self) -> bool:
        """Tell whether waiting a little would leave less for the next owner."""
        publishing = self.executor.backlog > 0 and not (self.relay and self.relay.failing)
        return self.executor.queued > 0 or publishing


async def _forever(follower: Follower, executor: Executor) -> None:
    while True:
        try:
            await follower.follow(executor)
        except Fenced:
            return
        except Exception:
            log.exception("a follower failed and starts again from its mark", extra={"follower": follower.name})
        await asyncio.sleep(1)


class Engine:
    """Everything behind a service's HTTP surface."""

    def __init__(
        self, service: str, rules: Rules, sidecar: Sidecar, settings: Settings, *,
        clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        """Nothing runs before `run`."""
        self.service, self.rules, self.sidecar, self.settings, self.clock = service, rules, sidecar, settings, clock
        self.lanes = Lanes(sidecar, settings.instance)
        self.views = Views(sidecar, rules)
        self.main: Running | None = None
        self.running: dict[int, Running] = {}
        self.reason = "starting: waiting for the sidecar"
        self.ready = asyncio.Event()
        self.commands = Commands(rules, sidecar, clock)
        self.accepted = 0
        self._draining = False

    # what the service calls

    async def submit(self, work: Work, size: int) -> Reply:
        """Run a command; raises what it was refused with, `Unprocessed` or `OutcomeUnknown`."""
        if self.main is None:
            raise Unprocessed(f"this service cannot take commands now ({self.reason}); try again shortly")
        executor = self.main.executor
        if executor.backlog >= self.settings.backlog_records:
            raise Unprocessed("the broker has been away for too long and the backlog is full; try again later")
        reply = await executor.submit_within(work, size, self.settings.answer_within)
        self.accepted += 1
        return reply

    async def deliver(self, work: Work, size: int) -> None:
        """Run an event's handler; waits as long as it takes, across a change of lanes."""
        while True:
            await self.ready.wait()
            try:
                if self.main:
                    await self.main.executor.submit(work, size)
                    return
            except Fenced:
                await asyncio.sleep(PAUSE)

    def degraded(self) -> list[str]:
        """Say what is not as it should be, although this replica serves."""
        if self.main is None:
            return []
        reasons = []
        if self.main.relay and self.main.relay.failing:
            reasons.append("the broker takes no events")
        if self.main.executor.backlog > self.settings.backlog_records // 10:
            reasons.append(f"{self.main.executor.backlog} records wait to be published")
        return reasons

    async def begin_rebuild(self, view: str) -> None:
        """Build a view anew while the old one is read; whoever watches the lanes ends it. Raises `Conflict`."""
        await self.views.begin_rebuild(view)
        await self._refresh()

    # life

    async def run(self) -> None:
        """Serve until `drain`. Raises `StoreUnfit`; waits out everything else."""
        await self._until(self._outbound_ready)
        self.reason = "starting: the store does not answer"
        await self._until(lambda: probe(self.sidecar))
        handled = Put(keys.HANDLED, {"types": sorted(self.rules.events)})
        await self._until(lambda: self.sidecar.transact([handled]))
        lane, head = await self._until(lambda: self._take_one(restart=True))
        async with asyncio.TaskGroup() as tasks:
            watcher = tasks.create_task(self._watch(tasks))
            await self._lead(lane, head)
            watcher.cancel()  # the group waits for adopted lanes, which a drain stops as well

    async def _lead(self, lane: Lane, head: Head) -> None:
        """Run the main lane; go on in another when this one is lost."""
        pending: list[Item] = []
        while True:
            executor = self._executor(lane.number, head, unclean=lane.head.owner is not None)
            executor.adopt(pending)
            self.main = Running(executor, adopted=False)
            self.ready.set()
            if await self._serve(self.main):
                return
            self.ready.clear()
            self.main, self.reason = None, "another process owns this lane now; taking another"
            log.warning("fenced", extra={"lane": lane.number})
            pending = executor.close()
            lane, head = await self._until(lambda: self._take_one(restart=False))

    async def drain(self) -> None:
        """Take no more commands, publish and settle what is in hand, give the lanes back."""
        self.reason, self._draining = "draining", True
        for running in self.running.values():
            running.executor.accepting = False
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.settings.drain_within
        while loop.time() < deadline and any(r.busy for r in self.running.values()):  # noqa: ASYNC110 - bounded
            await asyncio.sleep(PAUSE)
        for running in self.running.values():
            running.executor.stop()
        while self.running and loop.time() < deadline + self.settings.drain_within:  # noqa: ASYNC110 - bounded
            await asyncio.sleep(PAUSE)

    async def _serve(self, running: Running) -> bool:
        """Run a lane until it is stopped (True: given back) or lost (False)."""
        executor = running.executor
        self.running[executor.number] = running
        try:
            await running.run(await self._until(self._followers))
            await executor.save_marks()
            await self._until(lambda: self.lanes.release(executor.number, executor.head.epoch))
        except Fenced:
            return False
        finally:
            del self.running[executor.number]
        return True

    def _executor(self, number: int, head: Head, *, unclean: bool) -> Executor:
        executor = Executor(
            self.service, self.rules, self.lanes, number, head, clock=self.clock,
            lease=self.settings.lease, queue_items=self.settings.queue_items,
        )  # fmt: skip
        if unclean:
            self._be_careful(executor)
        log.info("took a lane", extra={"lane": number, "epoch": head.epoch, "unclean": unclean})
        return executor

    def _be_careful(self, executor: Executor) -> None:
        executor.careful_until = asyncio.get_running_loop().time() + self.settings.careful_for

    async def _take_one(self, *, restart: bool) -> tuple[Lane, Head]:
        """Resume our own lane (only at a restart), or take a free one, or open one."""
        names, lanes = await self._histories(), await self.lanes.all()
        own = [lane for lane in lanes if restart and lane.head.owner == self.settings.instance]
        free = [lane for lane in lanes if lane.head.owner is None and lane.number not in self.running]
        for lane in (*own, *free):
            if head := await self.lanes.take(lane, names):
                return lane, head
        lane = await self.lanes.open()
        head = await self.lanes.take(lane, names)
        return (lane, head) if head else await self._take_one(restart=restart)

    async def _followers(self) -> Sequence[Follower]:
        return [
            Relay(self.sidecar, self.service),
            *(Reaction(r, self.commands) for r in self.rules.reactors.values()),
            *(await self.views.followers()),
        ]

    async def _histories(self) -> dict[str, bool]:
        """Say of each follower with a mark of its own whether it wants a lane's history."""
        return {f.name: f.history for f in await self._followers() if f.name != Relay.name}

    async def _refresh(self) -> None:
        for running in list(self.running.values()):
            running.refresh(await self._followers())

    async def _watch(self, tasks: asyncio.TaskGroup) -> None:
        """Every third of a lease: look which lanes show no life."""
        seen: dict[int, tuple[str, float]] = {}
        while not self._draining:
            await asyncio.sleep(self.settings.lease / 3)
            try:
                await self._refresh()
                for view in self.views.building:
                    if await self.views.finish_rebuild(view, self.lanes):
                        await self._refresh()
                for lane in await self.lanes.all():
                    if lane.number not in self.running and await self._abandoned(lane, seen):
                        tasks.create_task(self._adopt(lane))
                self._give_back()
            except (SidecarError, Conflict) as error:
                log.warning("could not look at the lanes", extra={"reason": str(error)[:200]})

    async def _abandoned(self, lane: Lane, seen: dict[int, tuple[str, float]]) -> bool:
        now = asyncio.get_running_loop().time()
        commit, since = seen.get(lane.number, ("", now))
        if lane.head.owner is None:
            return lane.behind(await self._histories())
        if commit != lane.head.commit:
            seen[lane.number] = (lane.head.commit, now)
            return False
        return now - since >= self.settings.lease

    async def _adopt(self, lane: Lane) -> None:
        try:
            head = await self.lanes.take(lane, await self._histories())
        except SidecarError:
            return  # the next look finds it again
        if head is None:
            return
        unclean = lane.head.owner is not None
        if unclean and self.main:
            self._be_careful(self.main.executor)  # what ended its owner may be delivered here next
        await self._serve(Running(self._executor(lane.number, head, unclean=unclean), adopted=True))

    def _give_back(self) -> None:
        for running in self.running.values():
            if running.adopted and running.drained:
                running.executor.stop()

    async def _outbound_ready(self) -> None:
        if not await self.sidecar.outbound_ready():
            raise Unreachable("the sidecar is not ready")

    async def _until(self, ask: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Repeat what the sidecar could not do yet."""
        while True:
            try:
                return await ask()
            except SidecarError as error:
                log.info("waiting for the sidecar", extra={"reason": str(error)[:200]})
                await asyncio.sleep(4 * PAUSE)
