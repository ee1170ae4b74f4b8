"""Waiting for something that becomes true by itself: asked again and again, with a deadline, never slept for."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(ask: Callable[[], T | None], *, within: float, what: str = "", pause: float = 0.05) -> T:
    """Ask until the answer is true and return it; fails the test when that takes longer than `within` seconds."""
    deadline = time.monotonic() + within
    while not (answer := ask()):
        assert time.monotonic() < deadline, f"not within {within:.0f} s: {what or ask}; the last answer was {answer!r}"
        time.sleep(pause)
    return answer
