"""Orders over HTTP, for the gateway and for other services: parse, submit, answer.

Methods have fixed names and take ids in the query or the body: the sidecar's circuit breaker counts by path.
"""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from chassis.draft import new_id
from chassis.problems import Invalid, NotFound
from chassis.service import Reply, Service
from contracts.orders import (
    BriefsRequest,
    CancelRequest,
    OrderAccepted,
    OrderAnswer,
    OrderBrief,
    OrderMoment,
    OrderRequest,
    OrdersAnswer,
    OrderStatus,
    OrderStatusRequest,
)
from contracts.values import OrderId, UserId
from orders.domain import OrderState, Status, order
from orders.owners import Owners
from orders.placing import PlaceOrder
from orders.views import orders_by_user


class Api:
    """The routes of one running service."""

    def __init__(self, service: Service) -> None:
        """`service` stores and calls."""
        self._service, self._owners = service, Owners(service)
        self.router = APIRouter()
        self.router.add_api_route("/order", self.show, methods=["GET"])
        self.router.add_api_route("/user-orders", self.of_user, methods=["GET"])
        service.accept("/place-order", OrderRequest, self.place)
        service.accept("/cancel-order", CancelRequest, self.cancel)
        service.accept("/order-status", OrderStatusRequest, self.status)
        service.accept("/order-briefs", BriefsRequest, self.briefs)

    async def place(self, wish: OrderRequest, request: Request) -> Reply:
        """Accept an order (202), or raise `Invalid`; the same Idempotency-Key gets the same answer again."""
        key = self._service.key(request, caller=wish.user_id, body=await request.body())
        command = PlaceOrder(order_id=str(new_id()), user_id=wish.user_id, items=wish.items)
        reply = Reply.of(OrderAccepted(order_id=command.order_id, status=Status.PENDING), status=202)
        try:
            return await self._service.submit(command, reply, key=key)
        except Invalid as refused:
            asked = command.model_copy(update=await self._owners.ask(refused))
        return await self._service.submit(asked, reply, key=key)

    async def cancel(self, wish: CancelRequest, request: Request) -> Reply:
        """Cancel an open order (also one that is cancelled already), or raise `NotFound` or `Conflict`."""
        key = self._service.key(request, caller=wish.order_id, body=await request.body())
        stands = OrderStatus(order_id=wish.order_id, status=Status.CANCELLED)
        return await self._service.submit(wish, Reply.of(stands), key=key)

    async def show(self, order_id: Annotated[OrderId, Query(alias="id")]) -> Response:
        """Show an order, or raise `NotFound`."""
        state = await self._service.read(order(order_id))
        if state is None:
            raise NotFound(f"there is no order {order_id}")
        return Reply.of(answer(state)).response()

    async def status(self, question: OrderStatusRequest, _request: Request) -> Reply:
        """Say how an order stands; `unknown` is an answer too."""
        state = await self._service.read(order(question.order_id))
        stands = OrderStatus(order_id=question.order_id, status=state.status if state else "unknown")
        return Reply.of(stands)

    async def briefs(self, question: BriefsRequest, _request: Request) -> Reply:
        """Say how some orders stand, in the order of the question; unknown ones are left out."""
        return Reply.of(OrdersAnswer(orders=await self._briefs(question.order_ids)))

    async def of_user(
        self,
        user: Annotated[UserId, Query()],
        before: Annotated[int | None, Query(ge=0)] = None,
        count: Annotated[int, Query(ge=1, le=100)] = 20,
    ) -> Response:
        """List a user's orders, newest first; none for a user who has never ordered."""
        rows, further = await self._service.newest(orders_by_user, user, before=before, count=count)
        orders = await self._briefs([row.order_id for row in rows])
        return Reply.of(OrdersAnswer(orders=orders, next=further)).response()

    async def _briefs(self, ids: Sequence[str]) -> tuple[OrderBrief, ...]:
        states = await self._service.read_many([order(each) for each in ids])
        return tuple(brief(states[order(each)]) for each in ids if order(each) in states)


def brief(state: OrderState) -> OrderBrief:
    """Show an order as one line of a list."""
    return OrderBrief(
        order_id=state.order_id, user_id=state.user_id, status=state.status, reason=state.reason, total=state.total,
        placed_at=state.timeline[0].at, timeline=_timeline(state),
    )  # fmt: skip


def answer(state: OrderState) -> OrderAnswer:
    """Show an order's state in the published language."""
    return OrderAnswer(
        order_id=state.order_id,
        user_id=state.user_id,
        status=state.status,
        reason=state.reason,
        items=state.items,
        total=state.total,
        timeline=_timeline(state),
    )


def _timeline(state: OrderState) -> tuple[OrderMoment, ...]:
    return tuple(OrderMoment(status=moment.status, at=moment.at) for moment in state.timeline)
