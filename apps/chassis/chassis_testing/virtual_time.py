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
from heapq import heappop, heappush
from typing import Any

SCATTER = 2654435761  # odd, so that all places differ: timers of one moment swap theirs, in every run alike


class Call:
    """What is to be called, now or at a time; asyncio's own handle does much that nobody needs here."""

    __slots__ = ("args", "callback", "context", "off")

    def __init__(
        self, callback: Callable[..., object], args: tuple[Any, ...], context: contextvars.Context | None
    ) -> None:
        """`context` is the caller's, where none is given."""
        self.callback, self.args, self.off = callback, args, False
        self.context = contextvars.copy_context() if context is None else context

    def cancel(self) -> None:
        """Call nothing."""
        self.off = True

    def cancelled(self) -> bool:
        """Tell whether nothing will be called."""
        return self.off


class Nap:
    """What a task waits for when it sleeps: the timer wakes it itself, without a future in between."""

    __slots__ = ("_asyncio_future_blocking", "_loop", "_off", "_seconds", "_timer", "_wake")

    def __init__(self, loop: "VirtualLoop", seconds: float) -> None:
        """Nothing happens before it is awaited."""
        self._loop, self._seconds, self._off, self._asyncio_future_blocking = loop, seconds, False, False

    def __await__(self) -> Generator["Nap | None", None, None]:
        """Wait; a nap of no time lets others run."""
        if not self._seconds:
            yield
            return
        self._asyncio_future_blocking = True
        try:
            yield self
        finally:
            del self._timer, self._wake  # which hold us

    def get_loop(self) -> "VirtualLoop":
        """Tell a task whose this is."""
        return self._loop

    def add_done_callback(self, wake: Callable[["Nap"], object], *, context: contextvars.Context) -> None:
        """Take the task's own wake-up call."""
        self._wake = wake, context
        self._timer = self._loop.call_later(self._seconds, wake, self, context=context)

    def cancel(self, msg: object = None) -> bool:
        """Wake the task at once, to be cancelled."""
        if self._timer.off:
            return False
        self._off = self._timer.off = True
        wake, context = self._wake
        self._loop.call_soon(wake, self, context=context)
        return True

    def result(self) -> None:
        """Tell a task how it went."""
        if self._off:
            raise asyncio.CancelledError


class VirtualLoop(asyncio.BaseEventLoop):
    """Seconds pass only while nothing can run. No sockets, no threads: the order of callbacks is always the same.

    It does what asyncio's loop does, in its order, with a third of the steps: in a simulation they are a third of all.
    """

    def __init__(self, now: float = 0.0) -> None:
        """Begin at `now`."""
        super().__init__()
        self.now = now
        self._calls: deque[Call] = deque()
        self._timers: list[tuple[float, int, Call]] = []  # a heap; those of one moment come in no order
        self._made = 0

    def time(self) -> float:
        """Tell the virtual time."""
        return self.now

    def call_soon(  # type: ignore[override] - anything that can be cancelled serves as a handle
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> Call:
        """Call in this turn's end."""
        call = Call(callback, args, context)
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
        call = Call(callback, args, context)
        self._made += 1
        heappush(self._timers, (when, self._made * SCATTER % 2**32, call))
        return call

    def _write_to_self(self) -> None:
        """Nobody sleeps who would have to be woken."""

    def _run_once(self) -> None:
        """Run until somebody stops the loop."""
        while not self._stopping:  # type: ignore[attr-defined] - asyncio's own
            self._due()
            try:
                self._turn(self._calls)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as error:  # noqa: BLE001 - as asyncio does
                self.call_exception_handler({"message": "exception in a callback", "exception": error})

    @staticmethod
    def _turn(calls: deque[Call]) -> None:
        for _ in range(len(calls)):
            call = calls.popleft()
            if not call.off:
                call.context.run(call.callback, *call.args)

    def close(self) -> None:
        """Forget what was still to come."""
        self._calls.clear()
        self._timers.clear()
        super().close()

    def nap(self, seconds: float) -> "Nap":
        """Sleep, in half the steps of asyncio's."""
        return Nap(self, seconds)

    def _due(self) -> None:
        """Make ready what is due; where nothing can run, move the clock to the next timer."""
        timers, calls = self._timers, self._calls
        while timers and timers[0][2].off:
            heappop(timers)
        if not calls:
            if not timers:
                raise RuntimeError("nothing is ready and no timer is set: everything waits for something else")
            self.now = max(self.now, timers[0][0])
        while timers and timers[0][0] <= self.now:
            calls.append(heappop(timers)[2])


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
