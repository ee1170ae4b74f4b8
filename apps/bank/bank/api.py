"""The bank over HTTP. Operations answer how the payment stands (200), whatever that is; a decline is no error.

Operations need the client's key in `X-Api-Key`. The book and the faults do not: they are for whoever sits at this
machine and wants to see, or to make trouble.
"""

import hmac
import logging
from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request, Security
from fastapi.security import APIKeyHeader
from pydantic import BaseModel, ConfigDict, Field

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


def create(book: Book, api_key: str) -> FastAPI:
    """Put the bank together."""
    trouble = Trouble()
    app = FastAPI(title="bank", docs_url=None, redoc_url=None)
    app.include_router(_till(book, api_key))
    app.include_router(_office(book, trouble))
    app.add_middleware(Troubled, trouble=trouble)
    return app


def _till(book: Book, api_key: str) -> APIRouter:
    """Where money moves. SQLite is asked on the event loop: it answers faster than a thread would start."""
    router = APIRouter(dependencies=[Depends(_lock(api_key))])

    @router.post("/authorize")
    async def authorize(wanted: Authorization, request: Request) -> dict[str, Any]:
        refusal = getattr(request.state, REFUSAL, None)
        try:
            return told(book.authorize(wanted.key, int(wanted.amount * 100), refusal=refusal))
        except OtherAmount as other:
            raise HTTPException(409, str(other)) from None

    @router.post("/void")
    async def void(wanted: Operation) -> dict[str, Any]:
        return told(book.void(wanted.key))

    @router.post("/capture")
    async def capture(wanted: Operation) -> dict[str, Any]:
        return told(book.capture(wanted.key))

    return router


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


def _lock(api_key: str) -> Any:
    header = APIKeyHeader(name="X-Api-Key", auto_error=False)

    async def check(given: Annotated[str | None, Security(header)]) -> None:
        if not hmac.compare_digest((given or "").encode(), api_key.encode()):
            raise HTTPException(401, "the X-Api-Key is missing or wrong")

    return check
