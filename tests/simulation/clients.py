"""Customers and shopkeepers: what they ask of the gateway, what they are told, and what they then have a right to.

A customer's order never goes back in its status, is there as soon as it was accepted, and is one order however often it
was sent under its key. An answer that is marked as old (`Warning: 110`) may be old.
"""

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from simulation.plan import PRODUCTS, Act, Wish
from support.http import Heard

if TYPE_CHECKING:
    from simulation.town import Town

PATIENCE = 5.0
RANK = {"pending": 0, "reserved": 1, "confirmed": 2, "cancelled": 2}
ENDED = {"confirmed", "cancelled"}
JSON = {"content-type": "application/json"}


async def knock(
    town: "Town", verb: str, path: str, body: Any = None, key: str | None = None, query: Any = None
) -> Heard | None:
    """Ask the gateway; None where it gave no answer."""
    headers = JSON | ({"idempotency-key": key} if key else {})
    data = b"" if body is None else orjson.dumps(body)
    heard = await town.reach("gateway", verb, f"/api/v1/{path}", data, headers, PATIENCE, query)
    town.record("client", f"{verb}", (path, key), heard.status if heard else "no answer")
    return heard


async def insist(town: "Town", verb: str, path: str, body: Any = None, key: str | None = None) -> Heard:
    """Ask until the answer is definite."""
    while True:
        heard = await knock(town, verb, path, body, key)
        if heard and heard.status < 500:
            return heard
        await asyncio.sleep(town.dice.choice((0.2, 0.5, 1.0)))


@dataclass(slots=True)
class Customer:
    """Who placed one order, and what they were told."""

    town: "Town"
    wish: Wish
    accepted: list[str] = field(default_factory=list)  # ids, of each time it was sent
    refused: list[int] = field(default_factory=list)
    cancelled: list[int] = field(default_factory=list)  # answers to the wish to cancel
    rank: int = 0
    status: str = ""
    sent: int = 0

    @property
    def orders_at_most(self) -> int:
        """How many orders this may have made: one for a key, one for each time it was sent without."""
        return min(self.sent, 1) if self.wish.keyed else self.sent

    @property
    def key(self) -> str | None:
        """The Idempotency-Key."""
        return f"wish-{self.wish.number}" if self.wish.keyed else None

    @property
    def person(self) -> str:
        """The user's id."""
        return self.town.people[self.wish.person]

    @property
    def body(self) -> dict[str, Any]:
        """The order as it is sent."""
        return {"userId": self.person, "items": [{"sku": s, "quantity": n} for s, n in self.wish.items]}

    async def shop(self) -> None:
        """Place the order, look at it now and then, perhaps cancel it."""
        await asyncio.sleep(self.wish.at)
        if self.wish.twice:
            await asyncio.gather(self._place(), self._place())
        else:
            await self._place()
        if not self.accepted:
            return
        if self.wish.cancel_after is not None:
            self.town.start(self._cancel())
        for poll in range(self.wish.polls):
            await self.look()
            if self.status in ENDED:
                return
            await asyncio.sleep(self.town.dice.choice((0.05, 0.3, 1.0)) * (poll + 1))

    async def _place(self) -> None:
        self.sent += 1
        if self.wish.insists:
            heard = await insist(self.town, "POST", "orders", self.body, self.key)
        elif (heard := await knock(self.town, "POST", "orders", self.body, self.key)) is None:
            return
        if heard.status == 202:
            self.accepted.append(heard.json["orderId"])
            if len(set(self.accepted)) > 1:
                self._complain(f"one key gave {self.accepted}")
        elif heard.status < 500:
            self.refused.append(heard.status)

    async def again(self) -> None:
        """Send the same once more, when all is over: the answer is the first one."""
        heard = await insist(self.town, "POST", "orders", self.body, self.key)
        if heard.status != 202 or heard.json["orderId"] != self.accepted[0]:
            self._complain(f"was accepted as {self.accepted[0]}, and sent again answered {heard.status}: {heard.json}")

    async def look(self) -> None:
        """Look at the order."""
        heard = await knock(self.town, "GET", f"orders/{self.accepted[0]}")
        if heard is None or heard.status >= 500:
            return
        if "warning" in heard.headers:
            self.town.seen["old answers, marked as such"] += 1
            return
        if heard.status != 200:
            self._complain(f"order {self.accepted[0]} was accepted and then not found: {heard.status}")
            return
        shown = heard.json
        steps = [moment["status"] for moment in shown["timeline"]]
        if RANK[shown["status"]] < self.rank or (self.status in ENDED and shown["status"] != self.status):
            self._complain(f"order {self.accepted[0]} went from {self.status} to {shown['status']}")
        if steps[-1] != shown["status"] or steps != sorted(steps, key=RANK.__getitem__):
            self._complain(f"order {self.accepted[0]} is {shown['status']} after {steps}")
        self.status, self.rank = shown["status"], RANK[shown["status"]]

    async def _cancel(self) -> None:
        await asyncio.sleep(self.wish.cancel_after or 0.0)
        order = self.accepted[0]
        heard = await insist(self.town, "POST", f"orders/{order}/cancel", None, f"cancel-{self.wish.number}")
        self.cancelled.append(heard.status)
        if heard.status not in {200, 409}:
            self._complain(f"the wish to cancel {order} was answered {heard.status}: {heard.json}")

    def _complain(self, what: str) -> None:
        self.town.wrong.append(f"customer {self.wish.number}: {what}")


CANARIES = (
    (Wish(9001, 0.0, 0, (("ROPE", 1),), polls=1), {"confirmed"}),
    (Wish(9002, 0.0, 0, (("ROPE", 2), ("GONE", 1)), polls=1), {"cancelled"}),
    (Wish(9003, 0.0, 0, (("YACHT", 2),), polls=1), {"cancelled"}),
    (Wish(9004, 0.1, 0, (("ROPE", 3),), cancel_after=0.0, polls=1), {"cancelled", "confirmed"}),
)
"""Orders of quiet times, and how each may end; well within any deadline."""


FORGOTTEN = Wish(9005, 0.0, 0, (("ROPE", 1),), polls=1)
"""An order while the bank is away for longer than an order waits."""


def banned(person: int) -> Wish:
    """An order of somebody who was deactivated."""
    return Wish(9100 + person, 0.0, person, (("ROPE", 1),), polls=1)


async def act(town: "Town", what: Act, number: int) -> None:
    """Do what a shopkeeper, a new customer, an operator or somebody with the broker's address does."""
    await asyncio.sleep(what.at)
    key = f"act-{number}"
    match what.kind:
        case "reprice":
            await insist(town, "PUT", f"products/{what.subject}/price", {"price": what.value / 100}, key)
        case "restock":
            await insist(town, "POST", f"products/{what.subject}/restock", {"quantity": what.value}, key)
        case "deactivate":
            await insist(town, "POST", f"users/{town.people[what.subject]}/deactivate", None, key)
        case "register":
            await _register_and_order(town, what.subject, key)
        case "rebuild":
            view = {"orders": "orders-by-user", "inventory": "products"}[what.subject]
            await town.reach(what.subject, "POST", "/rebuild", orjson.dumps({"view": view}), JSON, PATIENCE)
        case "stranger":
            town.broker.put("inventory", _stranger(what))
            town.broker.put("notifications", _stranger(what))
        case "debtor":
            town.broker.put("payments", _debtor(what))
        case "rubbish":
            town.broker.put(what.subject, {"eventType": "OrderConfirmed", "payload": {}, "note": key})


async def _register_and_order(town: "Town", number: int, key: str) -> None:
    """Who was just registered may order at once: whoever does not know them yet asks."""
    person = {"name": f"Newcomer {number}", "email": f"new-{number}@example.org"}
    heard = await insist(town, "POST", "users", person, key)
    if heard.status != 201:
        town.wrong.append(f"a registration was answered {heard.status}: {heard.json}")
        return
    town.people.append(heard.json["userId"])
    newcomer = Customer(town, Wish(number + 10_000, 0.0, len(town.people) - 1, (("ROPE", 1),)))
    town.newcomers.append(newcomer)
    await newcomer.shop()
    if newcomer.refused:
        town.wrong.append(f"a newcomer was registered, and then refused with {newcomer.refused}")


def _stranger(what: Act) -> dict[str, Any]:
    """An order that nobody owns, published by hand."""
    line = {"sku": what.value, "quantity": 1, "unitPrice": 1.0}
    return {
        "eventType": "OrderCreated", "eventId": f"by-hand-{what.subject}", "timestamp": "2026-01-01T00:00:00Z",
        "version": "1.0", "payload": {"orderId": what.subject, "userId": "user-0", "items": [line], "total": 1.0},
    }  # fmt: skip


def _debtor(what: Act) -> dict[str, Any]:
    """Money that is asked for in the name of such an order."""
    return {
        "eventType": "PaymentRequested", "eventId": f"by-hand-{what.subject}", "timestamp": "2026-01-01T00:00:00Z",
        "version": "1.0", "payload": {"orderId": what.subject, "userId": "user-0", "amount": what.value},
    }  # fmt: skip


async def open_shop(town: "Town", people: int) -> None:
    """Offer the products and register the people, as the past of every seed."""
    for sku, (price, stock) in PRODUCTS.items():
        wish = {"sku": sku, "name": sku.title(), "price": float(price), "stock": stock}
        heard = await insist(town, "POST", "products", wish, f"offer-{sku}")
        assert heard.status == 201, heard
    for number in range(people):
        person = {"name": f"Customer {number}", "email": f"customer-{number}@example.org"}
        town.people.append((await insist(town, "POST", "users", person, f"register-{number}")).json["userId"])
