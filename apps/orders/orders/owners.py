"""Asks the owners of users and prices about what no copy here tells, before an order is refused for it.

An owner that is away must not take orders with it: few questions are open at a time (a bulkhead), each has less time
than orders itself is given, and a missing answer is no failure of orders, or the circuit to orders would open for
everybody.
"""

import asyncio
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from chassis.problems import DependencyAway, Invalid, Problem
from chassis.service import Service
from chassis.sidecar import SidecarError
from contracts.inventory import Price, PricesAnswer
from contracts.users import UserStatus

AT_ONCE = 32
WITHIN = 2.0  # s; the caller's sidecar waits three for the whole answer
ACTIVE = {"active": True, "inactive": False}


class Owners:
    """The questions of one running service."""

    def __init__(self, service: Service) -> None:
        """`service` calls."""
        self._service = service
        self._room = asyncio.Semaphore(AT_ONCE)

    async def ask(self, refused: Invalid) -> dict[str, Any]:
        """Return what a refused `PlaceOrder` lacks; raises the refusal if nobody can be asked, or `DependencyAway`."""
        skus, user = refused.extra.get("unknown"), refused.extra.get("unknownUser")
        if not (skus or user):
            raise refused
        if self._room.locked():
            raise DependencyAway("too many orders name something new at once; nothing was stored, try again shortly")
        async with self._room:
            quotes, active = await self._answers(skus or (), user)
        return {"quotes": quotes, "active": active}

    async def _answers(self, skus: Sequence[str], user: str | None) -> tuple[tuple[Price, ...], bool | None]:
        try:
            async with asyncio.timeout(WITHIN):
                return await asyncio.gather(self._quotes(skus), self._active(user))
        except Problem as problem:
            if problem.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                raise
            raise _away(user) from problem
        except (SidecarError, TimeoutError) as error:
            raise _away(user) from error

    async def _quotes(self, skus: Sequence[str]) -> tuple[Price, ...]:
        if not skus:
            return ()
        reply = await self._service.call("inventory", "prices", body={"skus": skus})
        return PricesAnswer.model_validate(reply.body).prices

    async def _active(self, user: str | None) -> bool | None:
        if user is None:
            return None
        reply = await self._service.call("users", "user-status", body={"userId": user})
        return ACTIVE.get(UserStatus.model_validate(reply.body).status)


def _away(user: str | None) -> DependencyAway:
    what = "the user" if user else "a product"
    return DependencyAway(f"{what} is new here and its owner does not answer; nothing was stored, try again shortly")
