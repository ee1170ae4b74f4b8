"""/api/v1: what the world may ask. Parse strictly, pass on, render what comes back; no business here.

docs/api.md says what stays as it is within a version.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar
from uuid import uuid4

from fastapi import APIRouter, Header, Path, Query, Response
from pydantic import BaseModel, ValidationError

from chassis.envelope import Command, Wire
from chassis.operations.tracing import tag
from chassis.service import Reply, Service
from contracts.inventory import AddProduct, ProductAccepted, ProductAnswer, ProductsAnswer, Restocking
from contracts.money import Money
from contracts.orders import OrderAccepted, OrderAnswer, OrderRequest, OrdersAnswer, OrderStatus
from contracts.users import RegisterRequest, UserAccepted, UserAnswer
from contracts.values import OrderId, Sku, UserId
from gateway.fallback import Fallback
from gateway.upstream import PATIENCE, BadGateway, Upstream

PREFIX = "/api/v1"
LAST = 2**53  # of what counts pages and places in a list

Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key", min_length=1, max_length=200,
        description="of your own making: the same key and request get the same answer, for a day",
    ),
]  # fmt: skip
Act = Callable[..., Awaitable[Response]]
W = TypeVar("W", bound=Wire)
OrderPath = Annotated[OrderId, Path()]
UserPath = Annotated[UserId, Path()]
SkuPath = Annotated[Sku, Path()]


class NewPrice(Command):
    """What one piece costs from now on."""

    price: Money


class Delivery(Command):
    """Pieces that came in."""

    quantity: Restocking


class ProblemAnswer(BaseModel):
    """Why a request was not done (RFC 9457); `detail` says what to do next, `field` what is wrong."""

    type: str
    title: str
    status: int
    detail: str
    field: str | None = None


class Api:
    """The routes of version 1."""

    def __init__(
        self, service: Service, noted: Callable[[str, str], None] = lambda _order, _user: None,
        patience: float = PATIENCE,
    ) -> None:  # fmt: skip
        """`service` calls the others; `noted` hears of every order that is accepted, and whose it is.

        `patience` is for how many seconds callers wait for a service that is not there.
        """
        self._noted = noted
        fallback = Fallback()
        self._users, self._inventory, self._orders = (
            Upstream(service, app, fallback, patience) for app in ("users", "inventory", "orders")
        )
        problems: dict[int | str, dict[str, Any]] = {"4XX": {"model": ProblemAnswer}, "5XX": {"model": ProblemAnswer}}
        self.router = APIRouter(prefix=PREFIX, responses=problems)
        self._route("POST /users", self.register, UserAccepted, status=201)
        self._route("GET /users/{user_id}", self.user, UserAnswer)
        self._route("GET /users/{user_id}/orders", self.orders_of, OrdersAnswer)
        self._route("POST /users/{user_id}/deactivate", self.deactivate, UserAccepted)
        self._route("GET /products", self.products, ProductsAnswer)
        self._route("POST /products", self.add, ProductAccepted, status=201)
        self._route("GET /products/{sku}", self.product, ProductAnswer)
        self._route("PUT /products/{sku}/price", self.reprice, ProductAccepted)
        self._route("POST /products/{sku}/restock", self.restock, ProductAccepted)
        self._route("POST /orders", self.place, OrderAccepted, status=202)
        self._route("GET /orders/{order_id}", self.order, OrderAnswer)
        self._route("POST /orders/{order_id}/cancel", self.cancel, OrderStatus)

    def _route(self, address: str, act: Act, answers: type[Wire], *, status: int = 200) -> None:
        verb, path = address.split(" ")
        self.router.add_api_route(
            path, act, methods=[verb], status_code=status, response_model=answers, tags=[path.split("/")[1]]
        )

    async def register(self, wish: RegisterRequest, idempotency_key: Key = None) -> Response:
        """Register somebody who wants to order, and where mail reaches them."""
        reply = await self._users.post("register-user", _body(wish), key=_key(idempotency_key))
        return _created(reply, "users", _read(UserAccepted, reply).user_id)

    async def user(self, user_id: UserPath) -> Response:
        """Show a user."""
        return (await self._users.get("user", id=user_id)).response()

    async def deactivate(self, user_id: UserPath, idempotency_key: Key = None) -> Response:
        """Let a user order nothing more; open orders go their way. May be repeated."""
        return _done(await self._users.post("deactivate-user", {"userId": user_id}, key=_key(idempotency_key)))

    async def orders_of(
        self,
        user_id: UserPath,
        before: Annotated[int | None, Query(ge=0, le=LAST, description="`next` of the page before")] = None,
        count: Annotated[int, Query(ge=1, le=100)] = 20,
    ) -> Response:
        """List a user's orders, newest first; who has never ordered, known or not, has none."""
        page = {} if before is None else {"before": str(before)}
        return (await self._orders.get("user-orders", user=user_id, count=str(count), **page)).response()

    async def products(self, page: Annotated[int, Query(ge=0, le=10_000)] = 0) -> Response:
        """List what is on offer, 100 products a page; `next` is the number of the next page."""
        return (await self._inventory.get("products", page=str(page))).response()

    async def product(self, sku: SkuPath) -> Response:
        """Show a product: what it costs, and how many pieces are available."""
        return (await self._inventory.get("product", sku=sku)).response()

    async def add(self, wish: AddProduct, idempotency_key: Key = None) -> Response:
        """Put a product on offer; 409 where another one has its sku."""
        reply = await self._inventory.post("add-product", _body(wish), key=_key(idempotency_key))
        return _created(reply, "products", wish.sku)

    async def reprice(self, sku: SkuPath, wish: NewPrice, idempotency_key: Key = None) -> Response:
        """Ask another price from now on; accepted orders keep theirs."""
        body = {"sku": sku, **_body(wish)}
        return _done(await self._inventory.post("change-price", body, key=_key(idempotency_key)))

    async def restock(self, sku: SkuPath, wish: Delivery, idempotency_key: Key = None) -> Response:
        """Take pieces in."""
        body = {"sku": sku, **_body(wish)}
        return _done(await self._inventory.post("restock", body, key=_key(idempotency_key)))

    async def place(self, wish: OrderRequest, idempotency_key: Key = None) -> Response:
        """Accept an order. It is stored when this answers; how it ends is told at Location."""
        reply = await self._orders.post("place-order", _body(wish), key=_key(idempotency_key))
        order_id = _read(OrderAccepted, reply).order_id
        tag(order=order_id)  # so that Zipkin finds its trace
        self._noted(order_id, wish.user_id)
        return _created(reply, "orders", order_id, status=202)

    async def order(self, order_id: OrderPath) -> Response:
        """Show an order: its status, items, total, and when each step happened."""
        return (await self._orders.get("order", id=order_id)).response()

    async def cancel(self, order_id: OrderPath, idempotency_key: Key = None) -> Response:
        """Cancel an order that is still open; 409 where it is confirmed. May be repeated."""
        return _done(await self._orders.post("cancel-order", {"orderId": order_id}, key=_key(idempotency_key)))


def _key(given: str | None) -> str:
    """Attach a key where there is none: the sidecar may repeat a call."""
    return given or str(uuid4())


def _body(wish: Command) -> dict[str, Any]:
    return wish.model_dump(mode="json", by_alias=True)


def _done(reply: Reply) -> Response:
    return Reply(200, reply.body).response()


def _created(reply: Reply, collection: str, name: str, *, status: int = 201) -> Response:
    return Reply(status, reply.body, {"location": f"{PREFIX}/{collection}/{name}"}).response()


def _read(model: type[W], reply: Reply) -> W:
    try:
        return model.model_validate(reply.body)
    except ValidationError as error:
        raise BadGateway(f"the service behind answered something that is no {model.__name__}") from error
