"""Inventory over HTTP, for the gateway and for other services: parse, submit, answer."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from chassis.service import Reply, Service
from contracts.inventory import (
    AddProduct,
    ChangePrice,
    Price,
    PricesAnswer,
    PricesRequest,
    ProductAccepted,
    ProductAnswer,
    ProductsAnswer,
    Restock,
)
from contracts.values import Sku
from inventory.domain import not_offered, product, stock
from inventory.views import ALL, product_list

PAGE_ROWS = 100  # of a view's page


class Api:
    """The routes of one running service."""

    def __init__(self, service: Service) -> None:
        """`service` stores."""
        self._service = service
        self.router = APIRouter()
        self.router.add_api_route("/products", self.products, methods=["GET"])
        self.router.add_api_route("/product", self.product, methods=["GET"])
        service.accept("/add-product", AddProduct, self.submit)
        service.accept("/prices", PricesRequest, self.prices)
        service.accept("/change-price", ChangePrice, self.submit)
        service.accept("/restock", Restock, self.submit)

    async def products(self, page: Annotated[int, Query(ge=0)] = 0) -> Response:
        """List products: name and price as the list knows them, and what is available this moment."""
        rows = await self._service.page(product_list, ALL, page)
        stocks = await self._service.read_many([stock(row.sku) for row in rows])
        available = {ref.id: state.available for ref, state in stocks.items()}
        products = [
            ProductAnswer(sku=row.sku, name=row.name, price=row.price, available=available.get(row.sku, 0))
            for row in rows
        ]
        following = page + 1 if len(rows) == PAGE_ROWS else None
        listed = ProductsAnswer(products=tuple(products), page=page, next=following)
        return Reply.of(listed).response()

    async def product(self, sku: Annotated[Sku, Query()]) -> Response:
        """Show a product as it stands, or raise `NotFound`."""
        what, where = product(sku), stock(sku)
        found: dict[Any, Any] = await self._service.read_many([what, where])
        if not {what, where} <= found.keys():
            raise not_offered(sku)
        offered, books = found[what], found[where]
        shown = ProductAnswer(sku=sku, name=offered.name, price=offered.price, available=books.available)
        return Reply.of(shown).response()

    async def prices(self, question: PricesRequest, _request: Request) -> Reply:
        """Say what some products cost now; unknown ones are left out."""
        states = await self._service.read_many([product(sku) for sku in question.skus])
        known = PricesAnswer(prices=tuple(Price(sku=s.sku, price=s.price) for s in states.values()))
        return Reply.of(known)

    async def submit(self, command: AddProduct | ChangePrice | Restock, request: Request) -> Reply:
        """Add a product, ask another price from now on, or take pieces in."""
        key = self._service.key(request, caller="", body=await request.body())
        return await self._service.submit(command, Reply.of(ProductAccepted(sku=command.sku)), key=key)
