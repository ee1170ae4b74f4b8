"""The gateway's calls to the services behind it, and what a client is told when one of them does not answer.

Problem
├── Unprocessed (503)         our own sidecar is not there: nothing was sent
├── Crowded (503)             too many calls wait for the service already: nothing was sent
├── NotThere (503)            nobody took the last attempt
├── CircuitOpen (503)         the sidecar gives the service a rest
├── OutcomeUnknown (504)      no answer in time
└── BadGateway (502)          an answer, but not the agreed one

The sidecar repeats a call, and tells only how the last attempt failed; an earlier one may have arrived. So whatever a
wish fails with, the client gets its Idempotency-Key to repeat it with. A question that was answered before is answered
as it was then.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

from chassis.operations.circuits import OPEN_WORDS, TRIAL_WORDS
from chassis.problems import OutcomeUnknown, Problem, Unprocessed
from chassis.service import Reply, Service
from chassis.sidecar import SidecarError, Unreachable
from gateway.fallback import Fallback, question

AT_ONCE = 80  # calls to one service (a bulkhead): one that hangs must leave connections for the others
ROOM_SECONDS = 2.0  # for a call to find room
READ_SECONDS = 3.5  # a little more than the sidecar's time-out, so that its circuit counts what hangs
CIRCUIT_OPEN = (OPEN_WORDS.decode(), TRIAL_WORDS.decode())  # this and the next in daprd's ERR_DIRECT_INVOKE
NOT_THERE = ("couldn't find service", "failed to resolve address", "connection refused")


class Crowded(Problem):
    """Too many calls wait for an answer."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    retry_after = 2


class NotThere(Problem):
    """Nobody took the call."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    retry_after = 2


class CircuitOpen(Problem):
    """The sidecar calls nobody there for a while, because too many calls failed."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    retry_after = 30


class BadGateway(Problem):
    """The service behind answered, but not as agreed."""

    status = HTTPStatus.BAD_GATEWAY


class Upstream:
    """One service behind the gateway."""

    def __init__(self, service: Service, app: str, fallback: Fallback) -> None:
        """`app` is its Dapr app id."""
        self._service, self._app, self._fallback = service, app, fallback
        self._room = asyncio.Semaphore(AT_ONCE)

    async def get(self, method: str, **query: str) -> Reply:
        """Ask something; where nobody answers, the last good answer is given, marked as old."""
        asked = question(self._app, method, query)
        try:
            reply = Reply(200, (await self._get(method, query)).body)
        except Problem as problem:
            if problem.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                self._fallback.forget(asked)
            elif old := self._fallback.recall(asked):
                return old
            raise
        self._fallback.keep(asked, reply)
        return reply

    async def post(self, method: str, body: Mapping[str, Any], *, key: str) -> Reply:
        """Wish something under an idempotency key; a failure of ours tells the key."""
        try:
            async with self._going():
                return await self._service.call(self._app, method, body=body, headers={"Idempotency-Key": key})
        except Problem as problem:
            raise _repeatable(problem, key) from problem.__cause__

    async def _get(self, method: str, query: Mapping[str, str]) -> Reply:
        async with self._going(), asyncio.timeout(READ_SECONDS):
            return await self._service.call(self._app, method, query=query, verb="GET")

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
            return Unprocessed("the gateway's own sidecar is not there and nothing was sent; try again shortly")
        if any(words in said for words in CIRCUIT_OPEN):
            return CircuitOpen(f"{self._app} failed too often and is given a rest; try again later")
        if any(words in said for words in NOT_THERE):
            return NotThere(f"{self._app} is not there at the moment; try again shortly")
        return OutcomeUnknown(f"{self._app} gave no answer in time; ask again")


def _repeatable(problem: Problem, key: str) -> Problem:
    if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        problem.extra["idempotencyKey"] = key
        problem.detail += "; repeat the request with the idempotencyKey given here, so that it is done once"
    return problem
