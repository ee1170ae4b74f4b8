"""The gateway's calls to the services behind it, and what a client is told when one of them does not answer.

Problem
├── Unprocessed (503)         our own sidecar is not there: nothing was sent
├── NotThere (503)            nobody took the last attempt
├── CircuitOpen (503)         the sidecar gives the service a rest
├── OutcomeUnknown (504)      no answer in time
└── BadGateway (502)          an answer, but not the agreed one

The sidecar repeats a call, and tells only how the last attempt failed; an earlier one may have arrived. So whatever an
order fails with, the client gets its Idempotency-Key to repeat it with.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from chassis.problems import OutcomeUnknown, Problem, Unprocessed
from chassis.service import Reply, Service
from chassis.sidecar import SidecarError, Unreachable

CIRCUIT_OPEN = "circuit breaker is open"  # this and the next in daprd's ERR_DIRECT_INVOKE
NOT_THERE = ("couldn't find service", "failed to resolve address", "connection refused")


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

    def __init__(self, service: Service, app: str) -> None:
        """`app` is its Dapr app id."""
        self._service, self._app = service, app

    async def get(self, method: str, **query: str) -> Reply:
        """Ask something; asking again is harmless."""
        try:
            return await self._service.call(self._app, method, query=query, verb="GET")
        except SidecarError as error:
            raise self._problem(error) from error

    async def post(self, method: str, body: Mapping[str, Any], *, key: str) -> Reply:
        """Order something under an idempotency key; a failure of ours tells the key."""
        try:
            return await self._service.call(self._app, method, body=body, headers={"Idempotency-Key": key})
        except SidecarError as error:
            raise _repeatable(self._problem(error), key) from error
        except Problem as problem:
            raise _repeatable(problem, key) from problem.__cause__

    def _problem(self, error: SidecarError) -> Problem:
        said = str(error)
        if isinstance(error, Unreachable):
            return Unprocessed("the gateway's own sidecar is not there and nothing was sent; try again shortly")
        if CIRCUIT_OPEN in said:
            return CircuitOpen(f"{self._app} failed too often and is given a rest; try again later")
        if any(words in said for words in NOT_THERE):
            return NotThere(f"{self._app} is not there at the moment; try again shortly")
        return OutcomeUnknown(f"{self._app} gave no answer in time; ask again")


def _repeatable(problem: Problem, key: str) -> Problem:
    if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        problem.extra["idempotencyKey"] = key
        problem.detail += "; repeat an order with the idempotencyKey given here, so that it is placed once"
    return problem
