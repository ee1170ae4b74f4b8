"""One replica's process: it can stall, meet any fault at any call to its sidecar, die, and be told to leave."""

import asyncio
import random
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from ledger import rules

from chassis.engine import Engine
from chassis.process import Settings
from chassis.service import Service
from chassis.sidecar import Unanswered
from chassis_testing.faults import (
    CRASH_AFTER,
    CRASH_BEFORE,
    DROPPED,
    LATE,
    LOST_ANSWER,
    MISMATCH,
    REFUSED,
    UNREACHABLE,
    Fault,
    Verb,
)  # fmt: skip
from chassis_testing.mortal import Mortal, MortalSidecar

if TYPE_CHECKING:
    from trial import Simulation

LEASE = 3.0
ANSWER_WITHIN = 1.0
RESTART_AFTER = 0.8
FAULTS: dict[Verb, list[Fault]] = {
    "transact": [LOST_ANSWER, LOST_ANSWER, LATE, LATE, LATE, DROPPED, REFUSED, UNREACHABLE, MISMATCH],
    "read": [UNREACHABLE, DROPPED],
    "publish": [UNREACHABLE, LOST_ANSWER, LATE, DROPPED, REFUSED],
    "invoke": [UNREACHABLE, DROPPED, LOST_ANSWER],
}
CRASHES: dict[Verb, list[Fault]] = {
    "transact": [CRASH_BEFORE, CRASH_AFTER, CRASH_AFTER],
    "read": [CRASH_BEFORE],
    "publish": [CRASH_BEFORE, CRASH_AFTER],
    "invoke": [CRASH_AFTER],
}
LATE_BY = [0.0, 0.01, 0.06, 0.3, 1.5, None]
"""Seconds after which a late call lands; None: when somebody lets it."""
SILENCES = [0.0, 0.0, 0.02, 0.4, 1.6]
"""Seconds until one who gets no answer takes it for lost."""


@dataclass(slots=True)
class Armed:
    """A fault for one of the next calls."""

    verb: Verb
    skip: int
    fault: Fault


class Weather:
    """Faults that strike by themselves, the same ones for the same seed."""

    def __init__(self, seed: int, percent: int, crash_percent: int) -> None:
        self.random, self.percent, self.crash_percent = random.Random(seed), percent, crash_percent

    def strike(self, verb: Verb) -> Fault | None:
        dice = self.random.randrange(100)
        if dice < self.crash_percent:
            return self.random.choice(CRASHES.get(verb, [Fault()]))
        if dice < self.crash_percent + self.percent:
            return self.random.choice(FAULTS.get(verb, [Fault()]))
        return None

    def silence(self) -> float:
        return self.random.choice(SILENCES)

    def late_by(self) -> float | None:
        return self.random.choice(LATE_BY)


class Process(Mortal):
    """Everything it ever started can be ended at once, as a kill does."""

    def __init__(self, sim: "Simulation", name: str, instance: str) -> None:
        super().__init__(sim.loop, instance)
        self.sim, self.name = sim, name
        self.armed: list[Armed] = []
        self.weather: Weather | None = None
        self.sidecar = _Mortal(self)
        settings = _settings().model_copy(update={"instance": instance})
        self.service = Service("bank", rules(lambda: sim.fixed), settings=settings, sidecar=self.sidecar)
        self.engine = self.service.engine = Engine(
            "bank", self.service.rules, self.sidecar, settings, clock=lambda: sim.loop.time() + sim.skew(name)
        )
        self.life = self.spawn(self.engine.run())

    def die(self) -> None:
        if self.alive and self.sim.supervised:
            self.sim.loop.call_later(RESTART_AFTER, self.sim.restart, self.name)
        super().die()

    async def leave(self) -> None:
        """End as on SIGTERM."""
        await self.engine.drain()
        self.die()

    def heal(self) -> None:
        self.armed.clear()
        self.weather = None
        self.thaw()

    def strike(self, verb: Verb, subject: Any) -> Fault | None:
        fault = self._next(verb)
        self.sim.trace.append((self.sim.loop.time(), self.instance, verb, subject, fault))
        return fault

    def _next(self, verb: Verb) -> Fault | None:
        armed = next((a for a in self.armed if a.verb == verb), None)
        if armed and armed.skip:
            armed.skip -= 1
        elif armed:
            self.armed.remove(armed)
            return armed.fault
        return self.weather.strike(verb) if self.weather else None


class _Mortal(MortalSidecar):
    """What is late here lands by itself, if the weather says so."""

    process: Process

    def __init__(self, process: Process) -> None:
        sim = process.sim
        super().__init__(process, sim.world.store, sim.world.broker, clock=sim.loop.time, apps={"office": sim.office})

    async def _leave(self, fault: Fault) -> None:
        sim, weather = self.process.sim, self.process.weather
        if fault.late and weather and (delay := weather.late_by()) is not None:
            sim.loop.call_later(delay, sim.land_this, self.store.parked[-1])
        if fault.error is Unanswered and weather:
            await asyncio.sleep(weather.silence())
        await super()._leave(fault)


@cache
def _settings() -> Settings:
    return Settings(lease=LEASE, answer_within=ANSWER_WITHIN, drain_within=2.0, careful_for=4.0, queue_items=64)
