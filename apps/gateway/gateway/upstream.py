"""The gateway's calls to the services behind it, and what a client is told when one of them does not answer.

Problem
├── Unprocessed (503)
│   └── CircuitOpen (503)     the sidecar gives the service a rest
├── OutcomeUnknown (504)      it may have happened
└── BadGateway (502)          it answered, but not as agreed
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from chassis.problems import OutcomeUnknown, Problem, Unprocessed
from chassis.service import Reply, Service
from chassis.sidecar import SidecarError, Unreachable

CIRCUIT_OPEN = "circuit breaker is open"  # in daprd's ERR_DIRECT_INVOKE
NOT_FOUND = ("failed to resolve address", "couldn't find app id", "failed to invoke, id")  # nobody was called


class CircuitOpen(Unprocessed):
    """The sidecar calls nobody there for a while, because too many calls failed."""

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
        """Order something under an idempotency key, which is told to the client where the outcome is unknown."""
        try:
            return await self._service.call(self._app, method, body=body, headers={"Idempotency-Key": key})
        except SidecarError as error:
            raise self._problem(error, idempotencyKey=key) from error
        except OutcomeUnknown as unknown:
            raise OutcomeUnknown(unknown.detail, **{**unknown.extra, "idempotencyKey": key}) from unknown

    def _problem(self, error: SidecarError, **extra: str) -> Problem:
        said = str(error)
        if isinstance(error, Unreachable):
            return Unprocessed("the gateway's own sidecar is not there; nothing was sent, try again shortly")
        if CIRCUIT_OPEN in said:
            return CircuitOpen(f"{self._app} failed too often and is given a rest; nothing was sent, try again later")
        if any(words in said for words in NOT_FOUND):
            return Unprocessed(f"{self._app} is not there at the moment; nothing was sent, try again shortly")
        advice = "repeat it with this Idempotency-Key" if extra else "ask again"
        return OutcomeUnknown(f"{self._app} gave no answer in time; {advice}", **extra)
