"""People who order: one at a time, or a crowd that does not give up while things break."""

import http.client
import json
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Self
from uuid import uuid4

from support.http import Heard
from support.installation import Installation, ask
from support.polling import eventually

ENDED = {"confirmed", "cancelled"}
TRY_AGAIN = {429, 500, 502, 503, 504}
PAUSE = 0.2  # s before a request that was not answered is repeated


@dataclass(frozen=True, slots=True)
class Customer:
    """Somebody who is registered, at the gateway."""

    shop: Installation
    user: str = ""

    @classmethod
    def registered(cls, shop: Installation) -> Self:
        """Be somebody new."""
        wish = {"name": "Ann Example", "email": "ann@example.org"}

        def answer() -> Heard | None:
            heard = cls(shop).ask("POST", "/api/v1/users", wish)
            assert heard.status == 201 or heard.status in TRY_AGAIN, heard.content
            return heard if heard.status == 201 else None

        return cls(shop, eventually(answer, within=30, what="somebody is registered").json["userId"])

    def ask(self, verb: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Heard:
        """Ask the gateway; bytes are sent as they are."""
        sent = body if isinstance(body, bytes | None) else json.dumps(body)
        url = f"http://127.0.0.1:{self.shop.port}"
        return ask(url, verb, path, sent, {"content-type": "application/json", **(headers or {})})

    def order(self, sku: str, quantity: int = 1, *, key: str | None = None) -> Heard:
        """Place an order, once."""
        wish = {"userId": self.user, "items": [{"sku": sku, "quantity": quantity}]}
        return self.ask("POST", "/api/v1/orders", wish, {"Idempotency-Key": key} if key else {})

    def accepted(self, sku: str, quantity: int = 1, *, key: str | None = None) -> str:
        """Place an order that must be accepted; returns its id."""
        heard = self.order(sku, quantity, key=key)
        assert heard.status == 202, heard.content
        return heard.json["orderId"]

    def persistently(self, sku: str, *, key: str, within: float) -> str:
        """Place an order, again under the same key until it is accepted; returns its id."""
        deadline = time.monotonic() + within
        while (heard := self._try(sku, key)) is None or heard.status in TRY_AGAIN:
            assert time.monotonic() < deadline, f"not accepted within {within:.0f} s: {heard and heard.content}"
            time.sleep(PAUSE)
        assert heard.status == 202, heard.content
        return heard.json["orderId"]

    def _try(self, sku: str, key: str) -> Heard | None:
        try:
            return self.order(sku, key=key)
        except (OSError, http.client.HTTPException):
            return None

    def shown(self, order_id: str) -> dict[str, Any]:
        """Look at an order."""
        heard = self.ask("GET", f"/api/v1/orders/{order_id}")
        assert heard.status == 200, heard.content
        return heard.json

    def ended(self, order_id: str, *, within: float = 30.0) -> dict[str, Any]:
        """Wait until an order is confirmed or cancelled, and show it; failures on the way are waited out."""

        def end() -> dict[str, Any] | None:
            try:
                heard = self.ask("GET", f"/api/v1/orders/{order_id}")
            except (OSError, http.client.HTTPException):
                return None
            assert heard.status == 200 or heard.status in TRY_AGAIN, heard.content
            return heard.json if heard.status == 200 and heard.json["status"] in ENDED else None

        return eventually(end, within=within, what=f"order {order_id} ends")


class Crowd:
    """Places `count` orders, some at once, each under a key of its own and until it is accepted."""

    AT_ONCE = 12

    def __init__(self, customer: Customer, skus: list[str], count: int) -> None:
        self.customer = customer
        self.accepted: dict[str, str] = {}  # key -> order id
        self._wishes = {str(uuid4()): skus[number % len(skus)] for number in range(count)}
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(self.AT_ONCE)
        self._placing: list[Future[None]] = []

    def __enter__(self) -> Self:
        """Begin to order."""
        self._placing = [self._pool.submit(self._place, key) for key in self._wishes]
        return self

    def __exit__(self, *_: object) -> None:
        """Wait until every order is accepted; raises what went wrong."""
        self._pool.shutdown()
        for placed in self._placing:
            placed.result()

    def again(self) -> dict[str, str]:
        """Repeat every request; returns the order ids that are answered now, by key."""
        return {key: self.customer.persistently(sku, key=key, within=60) for key, sku in self._wishes.items()}

    def _place(self, key: str) -> None:
        order_id = self.customer.persistently(self._wishes[key], key=key, within=100)
        with self._lock:
            self.accepted[key] = order_id
