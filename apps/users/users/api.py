"""Users over HTTP, for the gateway and for other services: parse, submit, answer.

Methods have fixed names and take ids in the query or the body: the sidecar's circuit breaker counts by path.
"""

from typing import Annotated, Any
from uuid import uuid4

from fastapi import APIRouter, Query, Request, Response

from chassis.service import Reply, Service
from contracts.users import RegisterRequest, UserAccepted, UserAnswer, UserRequest, UserStatus
from contracts.values import UserId
from users.domain import DeactivateUser, RegisterUser, Status, contact, not_registered, user


class Api:
    """The routes of one running service."""

    def __init__(self, service: Service) -> None:
        """`service` stores."""
        self._service = service
        self.router = APIRouter()
        service.accept("/register-user", RegisterRequest, self.register)
        service.accept("/deactivate-user", UserRequest, self.deactivate)
        self.router.add_api_route("/user", self.show, methods=["GET"])
        service.accept("/user-status", UserRequest, self.status)
        service.accept("/contact", UserRequest, self.contact)

    async def register(self, wish: RegisterRequest, request: Request) -> Reply:
        """Register somebody (202); the same Idempotency-Key gets the same answer again."""
        key = self._service.key(request, caller="", body=await request.body())
        command = RegisterUser(user_id=str(uuid4()), name=wish.name, email=wish.email)
        reply = Reply.of(UserAccepted(user_id=command.user_id, active=True), status=202)
        return await self._service.submit(command, reply, key=key)

    async def deactivate(self, wish: UserRequest, request: Request) -> Reply:
        """Let somebody order nothing more (202), or raise `NotFound`."""
        key = self._service.key(request, caller=wish.user_id, body=await request.body())
        reply = Reply.of(UserAccepted(user_id=wish.user_id, active=False), status=202)
        return await self._service.submit(DeactivateUser(user_id=wish.user_id), reply, key=key)

    async def show(self, user_id: Annotated[UserId, Query(alias="id")]) -> Response:
        """Show a user to themselves, or raise `NotFound`."""
        return Reply.of(await self._answer(user_id)).response()

    async def status(self, question: UserRequest, _request: Request) -> Reply:
        """Say whether a user may order; `unknown` is an answer too."""
        state = await self._service.read(user(question.user_id))
        status = state.status if state else Status.UNKNOWN
        return Reply.of(UserStatus(user_id=question.user_id, status=status))

    async def contact(self, question: UserRequest, _request: Request) -> Reply:
        """Tell who writes to a user where to, or raise `NotFound`. Who was deactivated still hears of open orders."""
        return Reply.of(await self._answer(question.user_id))

    async def _answer(self, user_id: str) -> UserAnswer:
        who, where = user(user_id), contact(user_id)
        found: dict[Any, Any] = await self._service.read_many([who, where])  # at once: every mail asks
        if not {who, where} <= found.keys():
            raise not_registered(user_id)
        state, known = found[who], found[where]
        return UserAnswer(user_id=user_id, name=known.name, email=known.email, active=state.status is Status.ACTIVE)
