"""Waiting for somebody who is not there: as long as an orderly restart takes, callers wait instead of failing.

Nobody calls in the meantime: half of ten calls that fail open the sidecar's circuit, and two seconds of absence would
become thirty. One question at a time, under a name of its own (a circuit is of a method), finds out who is back.
Whoever is away for longer is not waited for until a call succeeds: then each call fails at once, and the circuit opens.
"""

import asyncio
from collections.abc import Awaitable, Callable

EVERY = 0.75  # seconds from question to question: fewer than ten in all, so that they open no circuit of their own
WAITING = 1000  # callers at most


class Presence:
    """Whether one service can be reached, as far as is known."""

    def __init__(self, ask: Callable[[], Awaitable[bool]], patience: float) -> None:
        """`ask` tells whether somebody answers now; after `patience` seconds of silence nobody waits any more."""
        self._ask, self._patience = ask, patience
        self._looking: asyncio.Task[None] | None = None
        self._lost = False
        self._waiting = 0

    @property
    def away(self) -> bool:
        """Tell whether nobody was there a moment ago, and somebody is looked for."""
        return self._looking is not None

    def met(self) -> None:
        """Hear that a call was answered."""
        self._lost = False

    def missed(self) -> bool:
        """Hear that a call was taken by nobody; tells whether waiting may help."""
        if self._looking is None and not self._lost:
            self._looking = asyncio.create_task(self._look())
        return self._looking is not None and self._waiting < WAITING

    async def wait(self) -> None:
        """Return when somebody is there, or is given up."""
        if self._looking is None:
            return
        self._waiting += 1
        try:
            await asyncio.shield(self._looking)
        finally:
            self._waiting -= 1

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience
        try:
            while not (found := await self._ask()) and (left := deadline - loop.time()) > 0:  # noqa: ASYNC110 - bounded
                await asyncio.sleep(min(EVERY, left))
            self._lost = not found
        finally:
            self._looking = None
