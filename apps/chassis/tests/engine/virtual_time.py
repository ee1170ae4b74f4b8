"""An event loop whose time is a number: when nothing is ready it jumps to the next timer, so waiting costs nothing."""

import asyncio
import selectors
from typing import Any


class _Jumping(selectors.DefaultSelector):
    """Instead of blocking until a timer is due, moves the loop's clock there."""

    loop: "VirtualLoop"

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("nothing is ready and no timer is set: everything waits for something else")
        self.loop.now += max(timeout, 0.0)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """Seconds pass only while nothing can run. No sockets, no threads: the order of callbacks is always the same."""

    def __init__(self) -> None:
        selector = _Jumping()
        selector.loop = self
        self.now = 0.0
        super().__init__(selector)

    def time(self) -> float:
        return self.now
