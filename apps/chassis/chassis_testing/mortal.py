"""Processes that live in one event loop and die one by one: with a process ends everything that its code ever started.

A task belongs to the process whose code made it (`owned`, the loop's task factory, follows the context). A frozen
process makes no call to its sidecar until it thaws, as one that the machine has put aside.
"""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from typing import Any

from chassis_testing.faults import Crashed, Fault, Verb
from chassis_testing.memory import App, Binding, MemoryBroker, MemorySidecar, MemoryStore

MANY = 100
PROCESS: "contextvars.ContextVar[Mortal | None]" = contextvars.ContextVar("process", default=None)


class Mortal:
    """One process. What happens to its calls is decided by `strike`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, instance: str) -> None:
        """Begin with nothing running."""
        self.loop, self.instance = loop, instance
        self.alive, self.leaving = True, False
        self.sidecar: MemorySidecar
        self.gate = asyncio.Event()
        self.gate.set()
        self.stalls: list[asyncio.Event] = []
        self.tasks: list[asyncio.Task[Any]] = []  # in the order of their making, so that a run can be repeated

    def strike(self, verb: Verb, subject: Any) -> Fault | None:
        """Say what happens to the next call."""
        return None

    def fault(self, verb: Verb, subject: Any) -> Fault | None:
        """Hold calls back while frozen; for the sidecar."""
        fault = self.strike(verb, subject)
        return fault if self.gate.is_set() else self.held(fault)

    def held(self, fault: Fault | None) -> Fault:
        """Return what happens to a call of a frozen process."""
        return replace(fault or Fault(), before=self.gate)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run something as this process's."""
        context = contextvars.Context()
        context.run(PROCESS.set, self)
        return self.loop.create_task(work, context=context)

    def die(self) -> None:
        """End at once, as killed."""
        self.alive, self.sidecar.crashed = False, True
        for task in self.tasks:
            task.cancel()

    def own(self, task: asyncio.Task[Any]) -> None:
        """Take a task, to end with this process; those that have ended are let go now and then."""
        if len(self.tasks) >= MANY:
            self.tasks = [each for each in self.tasks if not each.done()]
        self.tasks.append(task)
        if not self.alive:
            task.cancel()

    def freeze(self) -> None:
        """Be put aside until the thaw."""
        self.gate.clear()

    def stall(self) -> asyncio.Event:
        """Make what a call waits for until the thaw."""
        self.stalls.append(asyncio.Event())
        return self.stalls[-1]

    def thaw(self) -> None:
        """Go on."""
        self.gate.set()
        for stall in self.stalls:
            stall.set()


class MortalSidecar(MemorySidecar):
    """A sidecar whose crash is its process's end."""

    def __init__(
        self, process: Mortal, store: MemoryStore, broker: MemoryBroker, *, clock: Callable[[], float],
        apps: Mapping[str, App] | None = None, bindings: Mapping[str, Binding] | None = None,
    ) -> None:  # fmt: skip
        """Faults are the process's."""
        super().__init__(store, broker, faults=process.fault, clock=clock, apps=apps, bindings=bindings)
        self.process = process

    async def _leave(self, fault: Fault) -> None:
        try:
            await super()._leave(fault)
        except Crashed:
            self.process.loop.call_soon(self.process.die)
            raise


def owned(
    loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], context: contextvars.Context | None = None
) -> asyncio.Task[Any]:
    """Make a task and enter it in the process whose code made it."""
    task = asyncio.Task(work, loop=loop, context=context)
    process = PROCESS.get() if context is None else context.get(PROCESS)
    if process is not None:
        process.own(task)
    return task
