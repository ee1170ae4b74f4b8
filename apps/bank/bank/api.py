"""The bank over HTTP. Operations answer how the payment stands (200), whatever that is; a decline is no error.

Operations need the client's key in `X-Api-Key`. The book and the faults do not: they are for whoever sits at this
machine and wants to see, or to make trouble.
"""

import hmac
import logging
from decimal import Decimal
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, FastAPI, HTTPException, Query, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bank.book import Book, OtherAmount, Payment, in_words
from bank.faults import REFUSAL, Faults, Trouble, Troubled

PAGE = 1000
Key = Annotated[str, Field(min_length=1, max_length=200)]
Amount = Annotated[Decimal, Field(ge=0, max_digits=15, decimal_places=2)]
log = logging.getLogger(__name__)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Operation(_Strict):
    """What is asked of a payment."""

    key: Key


class Authorization(Operation):
    """Hold so much."""

    amount: Amount


Asked = TypeVar("Asked", bound=Operation)


def create(book: Book, api_key: str) -> FastAPI:
    """Put the bank together."""
    trouble = Trouble()
    app = FastAPI(title="bank", docs_url=None, redoc_url=None)
    Till(book, api_key).add_to(app)
    app.include_router(_office(book, trouble))
    app.add_middleware(Troubled, trouble=trouble)
    return app


class Till:
    """Where money moves: plain routes, because a bank in the way of every order must cost little.

    SQLite is asked on the event loop: it answers faster than a thread would start.
    """

    def __init__(self, book: Book, api_key: str) -> None:
        """Operations need `api_key`."""
        self._book, self._key = book, api_key.encode()

    def add_to(self, app: FastAPI) -> None:
        """Open."""
        app.add_route("/authorize", self.authorize, methods=["POST"])
        app.add_route("/void", self.void, methods=["POST"])
        app.add_route("/capture", self.capture, methods=["POST"])

    async def authorize(self, request: Request) -> Response:
        """Hold an amount, or decline it; another amount under the same key is refused (409)."""
        wanted = await self._read(request, Authorization)
        refusal = getattr(request.state, REFUSAL, None)
        try:
            return JSONResponse(told(self._book.authorize(wanted.key, int(wanted.amount * 100), refusal=refusal)))
        except OtherAmount as other:
            raise HTTPException(409, str(other)) from None

    async def void(self, request: Request) -> Response:
        """Let go, for good."""
        wanted = await self._read(request, Operation)
        return JSONResponse(told(self._book.void(wanted.key)))

    async def capture(self, request: Request) -> Response:
        """Take what is held."""
        wanted = await self._read(request, Operation)
        return JSONResponse(told(self._book.capture(wanted.key)))

    async def _read(self, request: Request, model: type[Asked]) -> Asked:
        """Let nobody in without the key (401), and nothing that makes no sense (422)."""
        if not hmac.compare_digest(request.headers.get("x-api-key", "").encode(), self._key):
            raise HTTPException(401, "the X-Api-Key is missing or wrong")
        try:
            return model.model_validate_json(await request.body())
        except ValidationError as error:
            raise HTTPException(422, error.errors(include_url=False, include_context=False)) from None


def _office(book: Book, trouble: Trouble) -> APIRouter:
    """Where one looks and makes trouble."""
    router = APIRouter()

    @router.get("/health")
    async def health() -> dict[str, Any]:
        return {"service": "bank"}

    @router.get("/book")
    async def page(after: str = "", count: Annotated[int, Query(ge=1, le=PAGE)] = PAGE) -> dict[str, Any]:
        listed = book.page(after, count)
        payments = [{**told(payment), "movements": movements} for payment, movements in listed]
        return {"payments": payments, "next": listed[-1][0].key if len(listed) == count else None}

    @router.get("/faults")
    async def faults() -> Faults:
        return trouble.faults

    @router.post("/faults")
    async def change(faults: Faults) -> Faults:
        trouble.change(faults)
        log.info("trouble: %s", faults)
        return faults

    return router


def told(payment: Payment) -> dict[str, Any]:
    """Show a payment; an amount is text with two places."""
    amount = None if payment.amount is None else in_words(payment.amount)
    return {"key": payment.key, "status": payment.status, "reason": payment.reason, "amount": amount}
