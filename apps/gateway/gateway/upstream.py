"""The gateway's calls to the services behind it, and what a client is told when one of them does not answer.

Problem
├── Unprocessed (503)
│   └── NoSidecar (503)       our own sidecar is not there: nothing was sent
├── Crowded (503)             too many calls wait for the service already: nothing was sent
├── NotThere (503)            nobody took the last attempt
├── CircuitOpen (503)         the sidecar gives the service a rest
├── OutcomeUnknown (504)      no answer in time
│   └── CutOff (504)          the connection broke before there was one
└── BadGateway (502)          an answer, but not the agreed one

What was taken by nobody, or cut off, is repeated here as soon as somebody is there (`presence.py`), and not by the
sidecar: that would hide from us that nobody is, while its circuit counts. An earlier attempt may have arrived. So
whatever a wish fails with at last, the client gets its Idempotency-Key to repeat it with. A question that was answered
before is answered as it was then.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

from chassis.operations.circuits import OPEN_WORDS, REFUSAL, TRIAL_WORDS
from chassis.problems import OutcomeUnknown, Problem, Unprocessed
from chassis.service import Reply, Service
from chassis.sidecar import SidecarError, Unreachable
from gateway.fallback import Fallback, question
from gateway.presence import Presence

AT_ONCE = 80  # calls to one service (a bulkhead): one that hangs must leave connections for the others
ROOM_SECONDS = 2.0  # for a call to find room
READ_SECONDS = 3.5  # a little more than the sidecar's time-out, so that its circuit counts what hangs
CIRCUIT_OPEN = (OPEN_WORDS.decode(), TRIAL_WORDS.decode())  # this and the next in daprd's ERR_DIRECT_INVOKE
NOT_THERE = ("couldn't find service", "failed to resolve address", "connection refused")
TIME_OUT = ("deadline exceeded", "timeout", "context canceled")  # in what is left, it was no broken connection
TRIES = 4  # of one call: whoever answers questions and breaks every call off is not tried for ever
ASK_SECONDS = 1.0
PATIENCE = 6.0  # for somebody who is not there


class Crowded(Problem):
    """Too many calls wait for an answer."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    retry_after = 2


class NoSidecar(Unprocessed):
    """Our own sidecar is not there."""


class NotThere(Problem):
    """Nobody took the call."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    retry_after = 2


class CutOff(OutcomeUnknown):
    """The connection broke while an answer was waited for."""


class CircuitOpen(Problem):
    """The sidecar calls nobody there for a while, because too many calls failed."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    retry_after = 30


class BadGateway(Problem):
    """The service behind answered, but not as agreed."""

    status = HTTPStatus.BAD_GATEWAY


class Upstream:
    """One service behind the gateway."""

    def __init__(self, service: Service, app: str, fallback: Fallback, patience: float = PATIENCE) -> None:
        """`app` is its Dapr app id; `patience` is for how many seconds it is waited for when it is not there."""
        self._service, self._app, self._fallback = service, app, fallback
        self._room = asyncio.Semaphore(AT_ONCE)
        self._presence = Presence(self._answers, patience)

    async def get(self, method: str, **query: str) -> Reply:
        """Ask something; where nobody answers, the last good answer is given at once, marked as old."""
        asked = question(self._app, method, query)
        wait = asked not in self._fallback
        try:
            found = await self._call(method, query=query, verb="GET", within=READ_SECONDS, wait=wait)
        except Problem as problem:
            if problem.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                self._fallback.forget(asked)
            elif old := self._fallback.recall(asked):
                return old
            raise
        reply = Reply(200, found.body)
        self._fallback.keep(asked, reply)
        return reply

    async def post(self, method: str, body: Mapping[str, Any], *, key: str) -> Reply:
        """Wish something under an idempotency key; a failure of ours tells the key."""
        try:
            return await self._call(method, body=body, headers={"Idempotency-Key": key})
        except Problem as problem:
            raise _repeatable(problem, key) from problem.__cause__

    async def _call(self, method: str, *, wait: bool = True, within: float | None = None, **how: Any) -> Reply:
        """Call, and again where nobody took it but somebody is there soon; without `wait` fail at once then."""
        tries = TRIES if wait else 1
        while True:
            if self._presence.away and not wait:
                raise self._not_there()
            await self._presence.wait()
            tries -= 1
            try:
                async with self._going(), asyncio.timeout(within):
                    reply = await self._service.call(self._app, method, **how)
            except (NoSidecar, NotThere, CutOff):
                if not (self._presence.missed() and tries):
                    raise
            else:
                self._presence.met()
                return reply

    @asynccontextmanager
    async def _going(self) -> AsyncIterator[None]:
        """Find room for a call; raises the `Problem` that its failure is."""
        try:
            async with asyncio.timeout(ROOM_SECONDS):
                await self._room.acquire()
        except TimeoutError:
            raise Crowded(f"too many calls wait for {self._app} and nothing was sent; try again shortly") from None
        try:
            yield
        except (SidecarError, TimeoutError) as error:
            raise self._problem(error) from error
        finally:
            self._room.release()

    def _problem(self, error: Exception) -> Problem:
        said = str(error)
        if isinstance(error, Unreachable):
            return NoSidecar("the gateway's own sidecar is not there and nothing was sent; try again shortly")
        if any(words in said for words in CIRCUIT_OPEN):
            return CircuitOpen(f"{self._app} failed too often and is given a rest; try again later")
        if any(words in said for words in NOT_THERE):
            return self._not_there()
        if _broke(error):
            return CutOff(f"the connection to {self._app} broke; ask again")
        return OutcomeUnknown(f"{self._app} gave no answer in time; ask again")

    def _not_there(self) -> NotThere:
        return NotThere(f"{self._app} is not there at the moment; try again shortly")

    async def _answers(self) -> bool:
        """Tell whether the service is ready, all the way to it and back; no circuit of ours is to know of it."""
        try:
            async with asyncio.timeout(ASK_SECONDS):
                answer = await self._service.sidecar.invoke(self._app, "ready", verb="GET")
        except (SidecarError, TimeoutError):
            return False
        return answer.status < HTTPStatus.BAD_REQUEST


def _broke(error: Exception) -> bool:
    """Tell whether a connection broke: ours to the sidecar, or one behind it, which it tells of in its own words."""
    if error.__cause__:
        return not isinstance(error, TimeoutError) and not isinstance(error.__cause__, TimeoutError)
    said = str(error)
    return REFUSAL.decode() in said and not any(words in said for words in TIME_OUT)


def _repeatable(problem: Problem, key: str) -> Problem:
    if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        problem.extra["idempotencyKey"] = key
        problem.detail += "; repeat the request with the idempotencyKey given here, so that it is done once"
    return problem
