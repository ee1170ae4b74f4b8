"""/api/v1: what the world may ask. Parse strictly, pass on, render what comes back; no business here."""

from typing import Annotated
from uuid import uuid4

from fastapi import APIRouter, Header, Path, Query, Response
from pydantic import ValidationError

from chassis.service import Reply, Service
from contracts.inventory import ProductsAnswer
from contracts.orders import OrderAccepted, OrderAnswer, OrderRequest
from contracts.values import OrderId
from gateway.upstream import BadGateway, Upstream

Key = Annotated[str | None, Header(alias="Idempotency-Key", description="the same key gets the same answer, for a day")]


class Api:
    """The routes of version 1."""

    def __init__(self, service: Service) -> None:
        """`service` calls the others."""
        self._orders, self._inventory = Upstream(service, "orders"), Upstream(service, "inventory")
        self.router = APIRouter(prefix="/api/v1")
        add = self.router.add_api_route
        add("/orders", self.place, methods=["POST"], status_code=202, response_model=OrderAccepted)
        add("/orders/{order_id}", self.order, methods=["GET"], response_model=OrderAnswer)
        add("/products", self.products, methods=["GET"], response_model=ProductsAnswer)

    async def place(self, wish: OrderRequest, idempotency_key: Key = None) -> Response:
        """Accept an order. It is stored when this answers; how it ends is told at Location."""
        body = wish.model_dump(mode="json", by_alias=True)
        reply = await self._orders.post("place-order", body, key=idempotency_key or str(uuid4()))
        location = f"/api/v1/orders/{_accepted(reply).order_id}"
        return Reply(202, reply.body, {"location": location}).response()

    async def order(self, order_id: Annotated[OrderId, Path()]) -> Response:
        """Show an order: its status, items, total, and when each step happened."""
        return Reply(200, (await self._orders.get("order", id=order_id)).body).response()

    async def products(self, page: Annotated[int, Query(ge=0, le=10_000)] = 0) -> Response:
        """List what is on offer, 100 products a page; `next` is the number of the next page."""
        return Reply(200, (await self._inventory.get("products", page=str(page))).body).response()


def _accepted(reply: Reply) -> OrderAccepted:
    try:
        return OrderAccepted.model_validate(reply.body)
    except ValidationError as error:
        raise BadGateway("orders answered something that is no accepted order") from error
