"""What to ask of each operation so that it does something, and how its answer is known."""

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from support.events import envelope
from support.http import Heard

PROBLEM = "application/problem+json"
SKU, USER, TOO_MANY = "CANOE-CEDAR", "user-1", 100  # they cost more than the bank pays
LANE = {"lane": 0, "after": 0, "upto": 1}


@dataclass(frozen=True, slots=True)
class Question:
    """A body or a query, and what is in a good answer."""

    sign: bytes
    body: Any = None
    query: dict[str, str] = field(default_factory=dict)

    def path(self, path: str) -> str:
        """Add the query."""
        return f"{path}?{urlencode(self.query)}" if self.query else path

    def answered(self, heard: Heard) -> bool:
        """Tell whether the operation was done."""
        problem = heard.headers.get("content-type", "").startswith(PROBLEM)
        return 200 <= heard.status < 300 and not problem and self.sign in heard.content


def questions(order: str) -> dict[str, Question]:
    """Return one for each operation that services have; `order` is one that was cancelled."""
    line = {"sku": SKU, "quantity": TOO_MANY}
    product = {"sku": "SMUGGLED", "name": "Contraband", "price": 1.0, "stock": 1}
    return {
        "POST /register-user": Question(b'"active":true', {"name": "A Stranger", "email": "stranger@example.org"}),
        "POST /deactivate-user": Question(b'"active":false', {"userId": "user-19"}),
        "GET /user": Question(b'"email"', query={"id": USER}),
        "POST /user-status": Question(b'"status"', {"userId": USER}),
        "POST /contact": Question(b'"email"', {"userId": USER}),
        "POST /place-order": Question(b'"pending"', {"userId": USER, "items": [line]}),
        "POST /cancel-order": Question(b'"cancelled"', {"orderId": order}),
        "GET /order": Question(b'"items"', query={"id": order}),
        "GET /user-orders": Question(b'"orders"', query={"user": USER, "count": "5"}),
        "POST /order-briefs": Question(b'"orders"', {"orderIds": [order]}),
        "POST /order-status": Question(b'"status"', {"orderId": order}),
        "POST /add-product": Question(b'"sku"', product),
        "POST /change-price": Question(b'"sku"', {"sku": SKU, "price": 1.0}),
        "POST /restock": Question(b'"sku"', {"sku": SKU, "quantity": 1}),
        "GET /product": Question(b'"available"', query={"sku": SKU}),
        "GET /products": Question(b'"products"', query={"page": "0"}),
        "POST /prices": Question(b'"prices"', {"skus": [SKU]}),
        "POST /journal-lanes": Question(b'"tails"', {}),
        "POST /journal-records": Question(b'"records"', LANE),
        "POST /journal-events": Question(b'"events"', {"lane": 0, "numbers": [1], "ids": ["x"]}),
        "GET /ready": Question(b'"ready"'),
        "GET /status": Question(b'"circuits"'),
        # for sidecars, platforms and operators only
        "POST /events": Question(b"SUCCESS", delivery("orders", cancelled(order))),
        "GET /dapr/subscribe": Question(b"pubsubname"),
        "GET /health": Question(b'"service"'),
        "GET /metrics": Question(b"outrigger_"),
        "GET /openapi.json": Question(b'"openapi"'),
        "GET /dead-letters": Question(b'"letters"'),
        "GET /dead-letter": Question(b'"message"', query={"id": "dead:0:1"}),
        "POST /redrive": Question(b'"open"', {"id": "dead:0:1"}),
        "POST /rebuild": Question(b'"view"', {"view": "products"}),
        "GET /rebuild": Question(b"view"),
    }


CLOSED = (
    "POST /events", "GET /dapr/subscribe", "GET /health", "GET /ready", "GET /status", "GET /metrics",
    "GET /openapi.json", "GET /dead-letters", "GET /dead-letter", "POST /redrive", "POST /rebuild", "GET /rebuild",
)  # fmt: skip


def cancelled(order: str) -> dict[str, Any]:
    """Write the event that gives an order's goods and money back."""
    told = {"orderId": order, "userId": USER, "items": [], "cause": "customer", "reason": "forged"}
    return envelope("OrderCancelled", told, version="2.0")


def price(amount: float) -> dict[str, Any]:
    """Write the event that changes what orders cost from now on."""
    return envelope("PriceChanged", {"sku": SKU, "name": "Cedar strip canoe", "price": amount})


def delivery(topic: str, *events: dict[str, Any]) -> dict[str, Any]:
    """Write events as a sidecar delivers them."""
    entries = [{"entryId": e["eventId"], "event": {"data": e, "topic": topic}} for e in events]
    return {"id": "x", "topic": topic, "pubsubname": "pubsub", "entries": entries}
