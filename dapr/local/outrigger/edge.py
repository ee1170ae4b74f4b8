"""The system seen from outside: the gateway's HTTP API, as a client uses it."""

from dataclasses import dataclass
from typing import Any, Self
from uuid import uuid4

import aiohttp

from outrigger.errors import LauncherError

ENDED = frozenset({"confirmed", "cancelled"})
_TOO_LATE = 409
_TRY_AGAIN = frozenset({429, 500, 502, 503, 504})


class Busy(Exception):
    """Not now: the same request with the same key is safe to repeat."""


@dataclass(slots=True)
class Edge:
    """A client of the gateway. Use it as an async context manager."""

    url: str
    http: aiohttp.ClientSession

    @classmethod
    def at(cls, url: str, *, timeout: float = 15.0) -> Self:
        """Make a client; `timeout` is for one call, in seconds."""
        return cls(url, aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=timeout)))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.close()

    async def products(self) -> list[dict[str, Any]]:
        """Return the catalogue's first page. Raises `Busy` when it cannot be had now."""
        return (await self._ask("GET", "products"))["products"]

    async def place(self, order: dict[str, Any], key: str | None = None) -> str:
        """Place an order under an idempotency key; returns its id. Raises `Busy` when it is to be repeated."""
        headers = {"Idempotency-Key": key or str(uuid4())}
        return (await self._ask("POST", "orders", json=order, headers=headers))["orderId"]

    async def cancel(self, order_id: str, key: str) -> None:
        """Wish an order away; being too late is no fault. Raises `Busy` when the wish is to be repeated."""
        headers = {"Idempotency-Key": key}
        await self._ask("POST", f"orders/{order_id}/cancel", headers=headers, forgiven=_TOO_LATE)

    async def status(self, order_id: str) -> str:
        """Return an order's status. Raises `Busy` when it cannot be had now."""
        return (await self._ask("GET", f"orders/{order_id}"))["status"]

    async def _ask(self, method: str, path: str, *, forgiven: int | None = None, **more: Any) -> dict[str, Any]:
        try:
            async with self.http.request(method, f"{self.url}/api/v1/{path}", **more) as answer:
                return await _body(answer, forgiven)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Busy(str(error) or type(error).__name__) from error


async def _body(answer: aiohttp.ClientResponse, forgiven: int | None) -> dict[str, Any]:
    if answer.status in _TRY_AGAIN:
        raise Busy(f"{answer.status} {answer.reason}")
    if not answer.ok and answer.status != forgiven:
        raise LauncherError(
            f"{answer.method} {answer.url.path} was refused with {answer.status}: {await answer.text()}"
        )
    return await answer.json(content_type=None)
