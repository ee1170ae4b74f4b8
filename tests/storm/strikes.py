"""Carries out a storm's plan on a running installation, and remembers what was hit."""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

import psutil

from outrigger.template import EDGE
from storm.plan import Kind, Plan, Strike
from support.installation import Installation
from verify import commits

AIMED = 2.0  # s to wait for a commit
BACK_WITHIN = 60.0  # s
WIPED_WITHIN = 120.0  # s
WRITERS = {"bank": "payments"}  # whose commits those who have none are part of
DATABASES = "postgresql"


@dataclass
class Weather:
    """What was done, by role."""

    system: Installation
    keeper: str = "orders"  # the service whose commits everybody else is part of
    done: Counter[tuple[Kind, str]] = field(default_factory=Counter)
    aimed: int = 0
    hit: Counter[str] = field(default_factory=Counter)  # in a commit, of those that were aimed
    beyond: Counter[str] = field(default_factory=Counter)  # stopped for longer than the lease
    _bad: bool = False  # whether the bank had bad days
    _frozen: list[psutil.Process] = field(default_factory=list)
    _aiming: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def rage(self, plan: Plan, lease: float) -> None:
        """Do all of it, in time; in the end nothing is stopped any more and the bank is well."""
        began = time.monotonic()
        try:
            async with asyncio.TaskGroup() as group:
                for strike in plan.strikes:
                    group.create_task(self._strike(strike, began, lease))
        finally:
            _go_on(self._frozen)
        assert not self._bad or await self._bank("--mode", "none"), "the bank does not get well"

    async def _strike(self, strike: Strike, began: float, lease: float) -> None:
        await asyncio.sleep(max(0.0, began + strike.at - time.monotonic()))
        match strike.kind:
            case Kind.KILL:
                await self._kill(strike)
            case Kind.PAUSE:
                await self._pause(strike)
                self.beyond[strike.role] += strike.lasts > lease
            case Kind.BANK:
                if not await self._trouble(strike):
                    return
            case Kind.WIPE:
                await self._wipe()
        self.done[strike.kind, strike.mode or strike.role] += 1

    async def _kill(self, strike: Strike) -> None:
        await self._alive(strike.role)
        if strike.aimed:
            async with self._aiming:  # one who looks for a commit needs a whole core
                self.aimed += 1
                self.hit[strike.role] += await asyncio.to_thread(self._meet, strike.role)
        for process in await self._alive(strike.role):
            _signal(process, signal.SIGKILL)
            return

    async def _pause(self, strike: Strike) -> None:
        """Stop a server with all its processes."""
        family = await self._alive(strike.role)
        self._frozen += family
        for process in family:
            _signal(process, signal.SIGSTOP)
        await asyncio.sleep(strike.lasts)
        _go_on(family)

    async def _trouble(self, strike: Strike) -> bool:
        """Give the bank a bad day; tells whether it was there to have one."""
        self._bad = True
        came = await self._bank("--mode", strike.mode, "--rate", "0.3", "--delay", "5")
        await asyncio.sleep(strike.lasts)
        return await self._bank("--mode", "none") and came

    async def _bank(self, *words: str) -> bool:
        return await self._command("faults", "bank", *words, within=BACK_WITHIN)

    async def _wipe(self) -> None:
        """Let the broker lose all that it holds."""
        assert await self._command("wipe-broker", within=WIPED_WITHIN), "the broker is not wiped"

    async def _command(self, *words: str, within: float) -> bool:
        """Have the launcher do something, again and again; tells whether it did in time."""
        deadline = time.monotonic() + within
        while (await asyncio.to_thread(self.system.outrigger, *words)).returncode:
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.5)  # who is meant was killed, or is stopped
        return True

    async def _alive(self, role: str) -> list[psutil.Process]:
        """Wait until it runs; returns its process and those that it has started."""
        deadline = time.monotonic() + BACK_WITHIN
        while not (process := self.system.state_of(role).process()):
            assert time.monotonic() < deadline, f"{role} was not started again within {BACK_WITHIN:.0f} s"
            await asyncio.sleep(0.02)
        return [process, *_children(process)]

    def _meet(self, role: str) -> bool:
        """Wait until a commit is under way that the role is part of."""
        service = role.partition(".")[0]
        own = service in self.system.run.services and service != EDGE
        writer = service if own else WRITERS.get(service, self.keeper)
        return commits.met(self._writes(writer), AIMED)

    def _writes(self, service: str) -> "partial[bool]":
        server = self.system.run.parts.get(DATABASES)
        if server and server.pid:
            return partial(commits.in_database, server.pid, service)
        store = self.system.home.data / f"{service}.db"
        return partial(commits.in_file, store)


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def _go_on(family: list[psutil.Process]) -> None:
    for process in family:
        _signal(process, signal.SIGCONT)


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    """Send a signal to that process, not to another that has its number by now."""
    try:
        process.send_signal(number)
    except psutil.Error:
        return


def told(weather: Weather) -> Iterator[str]:
    """Put it into words."""
    for title, kind, some in (
        ("kills (those that met a commit)", Kind.KILL, weather.hit),
        ("stopped and let go on (those beyond the lease)", Kind.PAUSE, weather.beyond),
    ):
        counts = {role: n for (done, role), n in sorted(weather.done.items()) if done is kind}
        yield f"{sum(counts.values())} {title}: " + ", ".join(f"{r} {n} ({some[r]})" for r, n in counts.items())
    yield f"{weather.aimed} of the kills were aimed at a commit, and {sum(weather.hit.values())} met one"
    others = {f"{kind}: {role}": n for (kind, role), n in weather.done.items() if kind in {Kind.WIPE, Kind.BANK}}
    yield ", ".join(f"{name} {count}" for name, count in sorted(others.items()))
