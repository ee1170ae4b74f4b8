"""The orders service over HTTP, with its engine and a store in memory; users and inventory answer as told."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from chassis.process import Settings
from chassis.service import Service
from chassis.sidecar import Answer, SidecarError, Unanswered
from chassis_testing.memory import MemoryBroker, MemorySidecar, MemoryStore
from orders import owners
from orders.api import Api
from orders.saga import rules
from support.http import Heard, ask

WISH = {"userId": "anna", "items": [{"sku": "TEA", "quantity": 2}]}
CALLED = {"dapr-caller-app-id": "gateway"}  # so refusals travel as between services


class Owner:
    """A service that owns something: gives one answer, and counts the questions."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[Any] = []

    async def __call__(
        self, method: str, body: bytes | None, query: Mapping[str, str], headers: Mapping[str, str], verb: str
    ) -> Answer:
        if method.startswith("journal-"):
            raise Unanswered("it shows no journal")
        self.asked.append((method, json.loads(body or b"null")))
        if isinstance(self.answer, SidecarError):
            raise self.answer
        if self.answer is None:
            await asyncio.get_running_loop().create_future()  # for ever
        return Answer(200, json.dumps(self.answer).encode(), {"content-type": "application/json"})


def users(status: str = "active") -> Owner:
    return Owner({"userId": "anna", "status": status})


def inventory() -> Owner:
    return Owner({"prices": [{"sku": "TEA", "price": 4.5}]})


class Orders:
    """The running service."""

    def __init__(self, service: Service) -> None:
        self.service = service

    async def ask(self, verb: str, path: str, **more: Any) -> Heard:
        return await ask(self.service.app, verb, path, **more)

    async def placed(self, user: str = "anna") -> str:
        heard = await self.ask("POST", "/place-order", body={**WISH, "userId": user})
        assert heard.status == 202, heard.content
        return heard.json["orderId"]

    async def listed(self, expected: int, **query: str) -> dict[str, Any]:
        """Ask for Anna's orders until the list has as many as expected; a view follows what was stored."""
        async with asyncio.timeout(5):
            while len((shown := await self._list(**query))["orders"]) < expected:
                await asyncio.sleep(0.005)
        return shown

    async def _list(self, **query: str) -> dict[str, Any]:
        return (await self.ask("GET", "/user-orders", query={"user": "anna", **query})).json


@asynccontextmanager
async def running(users: Owner, inventory: Owner) -> AsyncIterator[Orders]:
    sidecar = MemorySidecar(MemoryStore(), MemoryBroker(), apps={"users": users, "inventory": inventory})
    service = Service("orders", rules, settings=Settings(instance="a", drain_within=1.0), sidecar=sidecar)
    service.routes(Api(service).router)
    async with service.app.router.lifespan_context(service.app):
        assert service.engine
        await service.engine.ready.wait()
        yield Orders(service)


async def test_what_no_copy_tells_is_asked_of_its_owner_once() -> None:
    users_, inventory_ = users(), inventory()
    async with running(users_, inventory_) as orders:
        await orders.placed()
    assert users_.asked == [("user-status", {"userId": "anna"})]
    assert inventory_.asked == [("prices", {"skus": ["TEA"]})]


@pytest.mark.parametrize(("status", "kind"), [("unknown", "Invalid"), ("inactive", "Conflict")])
async def test_users_has_the_last_word(status: str, kind: str) -> None:
    async with running(users(status), inventory()) as orders:
        heard = await orders.ask("POST", "/place-order", body=WISH, headers=CALLED)
    assert (heard.status, heard.json["title"]) == (200, kind)


@pytest.mark.parametrize("away", [Owner(Unanswered("down")), Owner(None)], ids=["down", "hanging"])
async def test_an_owner_that_is_away_is_no_failure_of_orders(away: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the circuit to orders would open for customers whom orders knows well."""
    monkeypatch.setattr(owners, "WITHIN", 0.05)
    async with running(away, inventory()) as orders:
        heard = await orders.ask("POST", "/place-order", body=WISH, headers=CALLED)
        direct = await orders.ask("POST", "/place-order", body=WISH)
    assert (heard.status, heard.json["title"]) == (200, "DependencyAway")
    assert (direct.status, direct.headers["retry-after"]) == (503, "2")


async def test_few_questions_are_open_at_a_time() -> None:
    away = Owner(None)
    async with running(away, inventory()) as orders, asyncio.TaskGroup() as tasks:
        many = [
            tasks.create_task(orders.ask("POST", "/place-order", body={**WISH, "userId": f"stranger-{n}"}))
            for n in range(owners.AT_ONCE + 5)
        ]
        heard = await asyncio.gather(*many)
    assert {each.json["title"] for each in heard} == {"DependencyAway"}
    assert len(away.asked) == owners.AT_ONCE


async def test_a_users_orders_are_listed_newest_first_over_pages() -> None:
    async with running(users(), inventory()) as orders:
        ids = [await orders.placed() for _ in range(5)]
        await orders.placed("somebody-else")
        await orders.listed(5)
        first = await orders.listed(2, count="2")
        second = await orders.listed(2, count="2", before=str(first["next"]))
        last = await orders.listed(1, count="2", before=str(second["next"]))
    shown = [each["orderId"] for page in (first, second, last) for each in page["orders"]]
    assert shown == ids[::-1]
    assert last["next"] is None
    assert {(each["status"], each["total"], each["userId"]) for each in first["orders"]} == {("pending", 9, "anna")}


async def test_nobody_has_no_orders() -> None:
    async with running(users(), inventory()) as orders:
        assert await orders.listed(0) == {"orders": [], "next": None}


@pytest.mark.parametrize(("query", "field"), [({"count": "101"}, "count"), ({"before": "-1"}, "before"), ({}, "user")])
async def test_a_page_has_bounds(query: dict[str, str], field: str) -> None:
    async with running(users(), inventory()) as orders:
        heard = await orders.ask("GET", "/user-orders", query=({"user": "anna"} if query else {}) | query)
    assert (heard.status, heard.json["field"]) == (422, field)


async def test_a_customer_cancels_and_may_say_so_twice() -> None:
    async with running(users(), inventory()) as orders:
        order_id = await orders.placed()
        first, again = [await orders.ask("POST", "/cancel-order", body={"orderId": order_id}) for _ in range(2)]
        shown = (await orders.ask("GET", "/order", query={"id": order_id})).json
    assert (first.status, first.json) == (again.status, again.json)
    assert first.json == {"orderId": order_id, "status": "cancelled"}
    assert (shown["status"], shown["reason"]) == ("cancelled", "cancelled by the customer")


async def test_briefs_are_told_of_those_that_are_known() -> None:
    async with running(users(), inventory()) as orders:
        one, two = await orders.placed(), await orders.placed()
        heard = await orders.ask("POST", "/order-briefs", body={"orderIds": [two, "nobody's", one]})
    assert [each["orderId"] for each in heard.json["orders"]] == [two, one]
