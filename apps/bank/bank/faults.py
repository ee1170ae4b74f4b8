"""Trouble on request: what makes a bank's day bad, for a given share of what it is asked.

The share is exact, not random: at a rate of 0.6 it strikes three of five calls. Only the operations on money are
struck, never the book or the faults themselves; a restart ends all trouble.
"""

import asyncio
from enum import StrEnum
from typing import Annotated

from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import ASGIApp, Message, Receive, Scope, Send

STRUCK = frozenset({"/authorize", "/void", "/capture"})
LINE = "line"  # where a request's state holds its connection
REFUSAL = "refusal"  # where it holds the reason of a decline


class Mode(StrEnum):
    """What happens to a struck call."""

    NONE = "none"
    SLOW = "slow"  # it hangs, and then does its work, though nobody may listen any more
    FAIL = "fail"  # 500; every second time the work is done nevertheless
    DECLINE = "decline"  # an authorization is declined
    DOWN = "down"  # the connection is cut


class Faults(BaseModel):
    """How much of what."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: Mode = Mode.NONE
    rate: Annotated[float, Field(ge=0, le=1)] = 1.0
    delay: Annotated[float, Field(gt=0, le=600)] = 10.0  # seconds, of a call that hangs


class Trouble:
    """Decides which calls are struck."""

    def __init__(self) -> None:
        """Begin without trouble."""
        self.change(Faults())

    def change(self, faults: Faults) -> None:
        """From now on this."""
        self.faults = faults
        self._due = 0.0

    def strikes(self, path: str) -> Mode:
        """Return what happens to one call."""
        mode = self.faults.mode
        if path not in STRUCK or (mode is Mode.DECLINE and path != "/authorize"):
            return Mode.NONE
        self._due += self.faults.rate
        if self._due < 1 - 1e-9:  # sums of fractions fall short
            return Mode.NONE
        self._due -= 1
        return mode


class Troubled:
    """The app behind its trouble, as the outermost layer."""

    def __init__(self, app: ASGIApp, trouble: Trouble) -> None:
        """`trouble` may change at any time."""
        self._app, self._trouble = app, trouble
        self._failed = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a call on, or let it suffer."""
        match self._trouble.strikes(scope.get("path", "")):
            case Mode.DOWN:
                await _cut(scope, receive)
            case Mode.FAIL:
                await self._fail(scope, receive, send)
            case Mode.SLOW:
                await asyncio.sleep(self._trouble.faults.delay)
                await self._app(scope, receive, send)
            case Mode.DECLINE:
                scope.setdefault("state", {})[REFUSAL] = "the card was declined"
                await self._app(scope, receive, send)
            case Mode.NONE:
                await self._app(scope, receive, send)

    async def _fail(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._failed += 1
        if self._failed % 2 == 0:
            await self._app(scope, receive, _nobody)
        await JSONResponse({"detail": "the bank has a fault"}, 500)(scope, receive, send)


async def _cut(scope: Scope, receive: Receive) -> None:
    """End the connection without a word, and wait until the server has noticed."""
    scope["state"][LINE].abort()
    while (await receive())["type"] != "http.disconnect":
        pass


async def _nobody(_message: Message) -> None:
    """Say it to nobody."""
