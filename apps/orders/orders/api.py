"""Orders over HTTP, for the gateway and for other services: parse, submit, answer.

Methods have fixed names and take ids in the query or the body: the sidecar's circuit breaker counts by path.
"""

from typing import Annotated
from uuid import uuid4

from fastapi import APIRouter, Query, Request, Response

from chassis.problems import Invalid, NotFound
from chassis.service import Reply, Service
from contracts.inventory import Price, PricesAnswer
from contracts.orders import OrderAccepted, OrderAnswer, OrderMoment, OrderRequest, OrderStatus, OrderStatusRequest
from contracts.values import OrderId
from orders.domain import OrderState, PlaceOrder, Status, order


class Api:
    """The routes of one running service."""

    def __init__(self, service: Service) -> None:
        """`service` stores and calls."""
        self._service = service
        self.router = APIRouter()
        self.router.add_api_route("/order", self.show, methods=["GET"])
        service.accept("/place-order", OrderRequest, self.place)
        service.accept("/order-status", OrderStatusRequest, self.status)

    async def place(self, wish: OrderRequest, request: Request) -> Reply:
        """Accept an order (202), or raise `Invalid`; the same Idempotency-Key gets the same answer again."""
        key = self._service.key(request, caller=wish.user_id, body=await request.body())
        command = PlaceOrder(order_id=str(uuid4()), user_id=wish.user_id, items=wish.items)
        accepted = OrderAccepted(order_id=command.order_id, status=Status.PENDING)
        reply = Reply(202, accepted.model_dump(mode="json", by_alias=True))
        try:
            return await self._service.submit(command, reply, key=key)
        except Invalid as refused:
            asked = command.model_copy(update={"quotes": await self._quotes(refused)})
        return await self._service.submit(asked, reply, key=key)

    async def _quotes(self, refused: Invalid) -> tuple[Price, ...]:
        """Ask the owner of products before an unknown one is refused: its news may not have arrived here."""
        if not (unknown := refused.extra.get("unknown")):
            raise refused
        reply = await self._service.call("inventory", "prices", body={"skus": unknown})
        return PricesAnswer.model_validate(reply.body).prices

    async def show(self, order_id: Annotated[OrderId, Query(alias="id")]) -> Response:
        """Show an order, or raise `NotFound`."""
        state = await self._service.read(order(order_id))
        if state is None:
            raise NotFound(f"there is no order {order_id}")
        return Reply(200, answer(state).model_dump(mode="json", by_alias=True)).response()

    async def status(self, question: OrderStatusRequest, _request: Request) -> Reply:
        """Say how an order stands; `unknown` is an answer too."""
        state = await self._service.read(order(question.order_id))
        stands = OrderStatus(order_id=question.order_id, status=state.status if state else "unknown")
        return Reply(200, stands.model_dump(mode="json", by_alias=True))


def answer(state: OrderState) -> OrderAnswer:
    """Show an order's state in the published language."""
    return OrderAnswer(
        order_id=state.order_id,
        user_id=state.user_id,
        status=state.status,
        reason=state.reason,
        items=state.items,
        total=state.total,
        timeline=tuple(OrderMoment(status=moment.status, at=moment.at) for moment in state.timeline),
    )
