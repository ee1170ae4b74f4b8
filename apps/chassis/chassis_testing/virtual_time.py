"""An event loop whose time is a number, and a world without chance: for simulations that can be repeated exactly.

When nothing is ready the loop jumps to the next timer, so waiting costs nothing.
"""

import asyncio
import contextvars
import os
import random
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from heapq import heappop, heappush
from typing import Any

SCATTER = 2654435761  # odd, so that all places differ: timers of one moment swap theirs, in every run alike
ONCE = (None,)


class Call(list[Any]):
    """What is to be called, with what, in which context; asyncio's own handle does much that nobody needs here."""

    __slots__ = ()

    def cancel(self) -> None:
        """Call nothing."""
        self[0] = None

    def cancelled(self) -> bool:
        """Tell whether nothing will be called."""
        return self[0] is None


class Nap:
    """A sleep without a future and a timer of its own; one may be slept many times. A task cannot be woken from it."""

    __slots__ = ("_loop", "_seconds")

    def __init__(self, loop: "VirtualLoop", seconds: float) -> None:
        """Nothing happens before it is awaited; a nap of no time lets others run."""
        self._loop, self._seconds = loop, seconds

    def __await__(self) -> Generator[None, None, None]:
        """Let the task's next step, which it asks for now, come later."""
        self._loop.pause = self._seconds
        return iter(ONCE)  # type: ignore[return-value] - whoever awaits asks for no more than an iterator


class VirtualLoop(asyncio.BaseEventLoop):
    """Seconds pass only while nothing can run. No sockets, no threads: the order of callbacks is always the same.

    It does what asyncio's loop does, in its order, with a third of the steps: in a simulation they are a third of all.
    """

    def __init__(self, now: float = 0.0) -> None:
        """Begin at `now`."""
        super().__init__()
        self.now = now
        self.pause = 0.0  # before what is called soon next
        self._calls: deque[Call] = deque()
        self._timers: list[tuple[float, int, Call]] = []  # a heap; those of one moment come in no order
        self._made = 0

    get_debug = staticmethod(bool)  # type: ignore[assignment] - no, in one step

    def time(self) -> float:
        """Tell the virtual time."""
        return self.now

    def create_future(self) -> "asyncio.Future[Any]":
        """Make one."""
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: object = None, context: contextvars.Context | None = None) -> Any:
        """Make one."""
        factory: Any = self.get_task_factory()
        return factory(self, coro, context=context) if factory else asyncio.Task(coro, loop=self, context=context)

    def call_soon(  # type: ignore[override] - anything that can be cancelled serves as a handle
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> Call:
        """Call when all that waits for its turn has been called."""
        if self.pause:
            seconds, self.pause = self.pause, 0.0
            return self.call_at(self.now + seconds, callback, *args, context=context)
        call = Call((callback, args, copy_context() if context is None else context))
        self._calls.append(call)
        return call

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> Call:
        """Call in `delay` seconds."""
        return self.call_at(self.now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> Call:
        """Call when it is `when`."""
        call = Call((callback, args, copy_context() if context is None else context))
        self._made += 1
        heappush(self._timers, (when, self._made * SCATTER % 2**32, call))
        return call

    def _write_to_self(self) -> None:
        """Nobody sleeps who would have to be woken."""

    def _run_once(self) -> None:
        """Run until somebody stops the loop; where nothing can run, move the clock to the next timer."""
        calls, timers = self._calls, self._timers
        while not self._stopping:  # type: ignore[attr-defined] - asyncio's own
            if calls:
                callback, args, context = calls.popleft()
            elif timers:
                when, _, (callback, args, context) = heappop(timers)
                if callback and when > self.now:
                    self.now = when
            else:
                raise RuntimeError("nothing is ready and no timer is set: everything waits for something else")
            if callback is None:
                continue
            try:
                context.run(callback, *args)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as error:  # noqa: BLE001 - as asyncio does
                self.call_exception_handler({"message": "exception in a callback", "exception": error})

    def close(self) -> None:
        """Forget what was still to come."""
        self._calls.clear()
        self._timers.clear()
        super().close()


@contextmanager
def determined(seed: int, loop: VirtualLoop, epoch: float = 0.0) -> Iterator[None]:
    """Let everything that is random follow from `seed` inside, and every clock from `loop`.

    Ids (`uuid4`), `secrets`, `random` and the clocks of `time`; whoever took one of these functions by name before is
    not reached.
    """
    entropy = random.Random(seed)  # noqa: S311 - that is the point
    was = os.urandom, getattr(random, "_urandom"), time.time, time.monotonic  # noqa: B009 - private
    state = random.getstate()
    os.urandom = entropy.randbytes
    setattr(random, "_urandom", entropy.randbytes)  # noqa: B010 - private: what `secrets` is made of
    time.time, time.monotonic = (lambda: epoch + loop.now), (lambda: loop.now)
    random.seed(seed)
    try:
        yield
    finally:
        os.urandom, time.time, time.monotonic = was[0], was[2], was[3]
        setattr(random, "_urandom", was[1])  # noqa: B010 - private
        random.setstate(state)
