"""One child process: started, watched, started again with backoff when it dies, stopped for good when told.

Nothing is left behind: a child leads a process group of its own, which is killed as a whole, and on Linux the kernel
kills it when this process dies without saying goodbye.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from outrigger.commands import Command
from outrigger.state import ProcessState

_PR_SET_PDEATHSIG = 1


@dataclass(slots=True)
class Backoff:
    """How long to wait before the next start, in seconds: doubled with every death, reset by a long enough life.

    A sidecar that finds no broker ends within a second, and a start is cheap: who waits longer is away when the broker
    is back. What has lived longer was killed, and is missed.
    """

    first: float = 0.2
    longest: float = 5.0
    forgiven_after: float = 3.0
    _next: float = field(default=0.0, init=False)

    def after(self, lived: float) -> float:
        """Return the wait after a process that lived that long."""
        if lived >= self.forgiven_after:
            self._next = 0.0
        wait = self._next or self.first
        self._next = min(wait * 2, self.longest)
        return wait


class Child:
    """A process that shall run. `changed` is called after each start and each death, in the event loop."""

    def __init__(self, command: Command, changed: Callable[["Child"], None], backoff: Backoff | None = None) -> None:
        self.command = command
        self.restarts = 0
        self.last_exit: int | None = None
        self._changed = changed
        self._backoff = backoff or Backoff()
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()
        self._watch: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        running = self._process is not None and self._process.returncode is None
        return self._process.pid if self._process and running else None

    @property
    def ending(self) -> bool:
        """Whether it shall not be started again."""
        return self._stopping.is_set()

    def state(self) -> ProcessState:
        """Describe it for the run's state file."""
        name, log = self.command.name, str(self.command.log)
        if self.pid is None:
            return ProcessState(name=name, restarts=self.restarts, log=log)
        return ProcessState.of(self.pid, name, restarts=self.restarts, log=log)

    async def start(self) -> None:
        """Start it the first time; raises OSError if the program cannot be executed."""
        self._process = await _spawn(self.command)
        self._watch = asyncio.create_task(self._keep_alive(), name=f"watch {self.command.name}")
        self._changed(self)

    def renew(self) -> None:
        """Ask it to end; it is started again."""
        self._signal(self.command.farewell)

    def terminate(self) -> None:
        """Ask it to end, and do not start it again."""
        self._stopping.set()
        self._signal(self.command.farewell)

    def freeze(self, *, frozen: bool) -> None:
        """Stop it and what it started where they stand, or let them go on."""
        self._signal_group(signal.SIGSTOP if frozen else signal.SIGCONT)

    def kill(self) -> None:
        """Kill it and what it started; it is started again."""
        self._signal_group(signal.SIGKILL)

    async def stop(self, grace: float) -> None:
        """End it: ask, wait up to `grace` seconds, then kill its whole group; without grace it is not asked."""
        self._stopping.set()
        if grace:
            self.terminate()
        if self._watch is None:
            return
        _, still = await asyncio.wait([self._watch], timeout=grace)
        if still:
            self._signal(signal.SIGKILL)
            await asyncio.wait([self._watch], timeout=5)
        self._signal_group(signal.SIGKILL)  # what it may have started and left

    async def _keep_alive(self) -> None:
        """Wait for the process to end, and start it again, until it shall stop."""
        while process := self._process:
            began = time.monotonic()
            self.last_exit = await process.wait()
            self._changed(self)
            if await self._stops_within(self._backoff.after(time.monotonic() - began)):
                return
            self.restarts += 1
            with contextlib.suppress(OSError):  # the program may be away for a moment, as in a rebuild
                self._process = await _spawn(self.command)
            self._changed(self)

    async def _stops_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)
        return self._stopping.is_set()

    def _signal(self, number: signal.Signals) -> None:
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def _signal_group(self, number: signal.Signals) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)


async def _spawn(command: Command) -> asyncio.subprocess.Process:
    command.log.parent.mkdir(parents=True, exist_ok=True)
    with command.log.open("ab") as log:
        return await asyncio.create_subprocess_exec(
            *command.argv,
            executable=command.executable,
            cwd=command.folder,
            env=dict(command.env),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=asyncio.subprocess.STDOUT,
            process_group=0,
            pass_fds=() if command.door is None else (command.door,),
            preexec_fn=_die_with_parent(),
        )


def _die_with_parent() -> Callable[[], None] | None:
    """Return what a child does before it becomes the program: ask the kernel to be killed when we die (Linux only)."""
    if sys.platform != "linux":
        return None
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def prepare() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died between the fork and that call
            os._exit(1)

    return prepare
