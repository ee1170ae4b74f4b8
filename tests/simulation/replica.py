"""One process of one service: its body, its sidecar, its clock, and the troubles that wait for its calls."""

import asyncio
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chassis.sidecar import Unanswered
from chassis_testing.faults import (
    CRASH_AFTER,
    CRASH_BEFORE,
    DROPPED,
    LATE,
    LOST_ANSWER,
    MISMATCH,
    NONE,
    REFUSED,
    UNREACHABLE,
    Fault,
    Verb,
)
from chassis_testing.mortal import Mortal, MortalSidecar
from chassis_testing.virtual_time import Nap
from simulation.bodies import POOL

if TYPE_CHECKING:
    from simulation.town import Town

FAULTS = {
    "lost answer": LOST_ANSWER,
    "late commit": LATE,
    "refused commit": REFUSED,
    "unreachable": UNREACHABLE,
    "not done, no answer": DROPPED,
    "foreign write": MISMATCH,
    "crash before a call": CRASH_BEFORE,
    "crash after a call": CRASH_AFTER,
}
LATE_BY = (0.0, 0.01, 0.06, 0.3, 1.5, 6.0)
TRAVELS = (0, 0, 0, 0.0005, 0.001, 0.002, 0.004)
SILENCES = (0.0, 0.0, 0.02, 0.4, 2.5)


@dataclass(slots=True)
class Armed:
    """A trouble that waits for its call."""

    kind: str
    verb: str
    skip: int
    count: int


@dataclass(slots=True)
class Slot:
    """A place for a process, which outlives it: the clock of its machine, the troubles to come."""

    service: str
    name: str
    skew: float
    armed: list[Armed]
    starts: int = 0


class Replica(Mortal):
    """A life in a slot."""

    def __init__(self, town: "Town", slot: Slot, instance: str) -> None:
        super().__init__(town.loop, instance)
        self.town, self.slot, self.service_name = town, slot, slot.service
        self.tag = f"{slot.service}.{instance}"
        self.sidecar = Wire(self)
        self.body = POOL.lend(slot.service)
        self.body.wake(self.sidecar, instance, lambda: town.epoch + town.loop.now + slot.skew, town.loop.time)
        self.service, self.engine = self.body.service, self.body.service.engine
        self.life = self.spawn(self.engine.run()) if self.engine else None
        if self.service.walker:
            self.spawn(self.service.walker.run())

    @property
    def serves(self) -> bool:
        """Tell whether it takes commands."""
        return self.alive and (self.engine is None or self.engine.main is not None)

    def die(self) -> None:
        """End, and be started again a little later by whoever watches processes."""
        if self.alive:
            self.town.died(self)
        super().die()

    async def leave(self) -> None:
        """End as on SIGTERM."""
        self.leaving = True
        if self.engine:
            await self.engine.drain()
        self.die()

    def fault(self, verb: Verb, subject: Any) -> Fault | None:
        """Find the trouble for a call, and write the call down; for the sidecar."""
        town = self.town
        fault = town.forced(self, verb, subject) if town.forced else self._next(verb) if self.slot.armed else None
        town.story.append((town.loop.now, self.tag, verb, subject, fault))
        return fault if self.gate.is_set() else self.held(fault)

    def _next(self, verb: Verb) -> Fault | None:
        for armed in self.slot.armed:
            if armed.verb == verb:
                if armed.skip:
                    armed.skip -= 1
                    return None
                armed.count -= 1
                if armed.count <= 0:
                    self.slot.armed.remove(armed)
                self.town.hit(armed.kind)
                return FAULTS[armed.kind]
        return None


class AtOnce:
    """What is awaited without letting others run: they do when the answer travels."""

    def __await__(self) -> Generator[None, None, None]:
        return iter(())  # type: ignore[return-value] - whoever awaits asks for no more than an iterator


AT_ONCE = AtOnce()


class Wire(MortalSidecar):
    """The way to the sidecar and back takes a moment, never the same; what is late lands by itself."""

    process: Replica

    def __init__(self, process: Replica) -> None:
        town = process.town
        apps = town.apps_of_gateway if process.service_name == "gateway" else town.apps
        super().__init__(
            process, town.stores[process.service_name], town.broker, clock=town.loop.time, apps=apps,
            bindings={"mail": town.mailbox.bind},
        )  # fmt: skip
        self._chance = town.dice.random
        self._ways_back = [Nap(town.loop, seconds) for seconds in TRAVELS]
        self._ways = [nap if seconds else AT_ONCE for nap, seconds in zip(self._ways_back, TRAVELS, strict=True)]

    def _travel(self) -> Nap | AtOnce:
        return self._ways[int(self._chance() * len(TRAVELS))]

    def _return(self) -> Nap:
        return self._ways_back[int(self._chance() * len(TRAVELS))]

    async def _leave(self, fault: Fault) -> None:
        if fault is NONE:
            await self._return()
            self._must_live()
            return
        town = self.process.town
        if fault.late:
            town.land_later(self.store, self.store.parked[-1], town.dice.choice(LATE_BY))
        if fault.error is Unanswered:
            await asyncio.sleep(town.dice.choice(SILENCES))
        await super()._leave(fault)
