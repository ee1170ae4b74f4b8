"""An event loop whose time is a number, and a world without chance: for simulations that can be repeated exactly.

When nothing is ready the loop jumps to the next timer, so waiting costs nothing.
"""

import asyncio
import os
import random
import selectors
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class _Jumping(selectors.DefaultSelector):
    """Instead of blocking until a timer is due, moves the loop's clock there."""

    loop: "VirtualLoop"

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("nothing is ready and no timer is set: everything waits for something else")
        self.loop.now += max(timeout, 0.0)
        return []  # there are no sockets


class VirtualLoop(asyncio.SelectorEventLoop):
    """Seconds pass only while nothing can run. No sockets, no threads: the order of callbacks is always the same."""

    def __init__(self, now: float = 0.0) -> None:
        """Begin at `now`."""
        selector = _Jumping()
        selector.loop = self
        self.now = now
        super().__init__(selector)

    def time(self) -> float:
        """Tell the virtual time."""
        return self.now


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
