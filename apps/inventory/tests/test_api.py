"""The inventory service over HTTP, with its engine and a store in memory."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from chassis.process import Settings
from chassis.service import Service
from chassis_testing.memory import MemoryBroker, MemorySidecar, MemoryStore
from inventory.api import Api
from inventory.saga import rules
from support.http import Heard, ask

TEA = {"sku": "TEA", "name": "Tea", "price": 4.5, "stock": 10}
CALLED = {"dapr-caller-app-id": "gateway"}


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    sidecar = MemorySidecar(MemoryStore(), MemoryBroker())
    made = Service("inventory", rules, settings=Settings(instance="a", drain_within=1.0), sidecar=sidecar)
    made.routes(Api(made).router)
    async with made.app.router.lifespan_context(made.app):
        assert made.engine
        await made.engine.ready.wait()
        yield made


async def post(service: Service, method: str, body: Any) -> Heard:
    return await ask(service.app, "POST", f"/{method}", body=body, headers=CALLED)


async def shown(service: Service, sku: str) -> Any:
    return (await ask(service.app, "GET", "/product", query={"sku": sku}, headers=CALLED)).json


async def test_a_product_is_added_repriced_and_restocked(service: Service) -> None:
    heard = [
        await post(service, "add-product", TEA),
        await post(service, "change-price", {"sku": "TEA", "price": 5}),
        await post(service, "restock", {"sku": "TEA", "quantity": 3}),
    ]
    assert [(each.status, each.json) for each in heard] == [(200, {"sku": "TEA"})] * 3
    assert await shown(service, "TEA") == {"sku": "TEA", "name": "Tea", "price": 5, "available": 13}


async def test_what_is_not_on_offer_is_not_found(service: Service) -> None:
    assert (await shown(service, "TEA"))["title"] == "NotFound"
    assert (await post(service, "restock", {"sku": "TEA", "quantity": 3})).json["title"] == "NotFound"


async def test_a_key_restocks_once(service: Service) -> None:
    await post(service, "add-product", TEA)
    for _ in range(2):
        headers = CALLED | {"Idempotency-Key": "mine"}
        await ask(service.app, "POST", "/restock", body={"sku": "TEA", "quantity": 3}, headers=headers)
    assert (await shown(service, "TEA"))["available"] == 13


@pytest.mark.parametrize(
    ("wrong", "field"),
    [({"stock": -1}, "stock"), ({"price": 0.001}, "price"), ({"sku": "a b"}, "sku"), ({"colour": "red"}, "colour")],
)
async def test_a_wrong_field_is_named(service: Service, wrong: dict[str, Any], field: str) -> None:
    heard = await post(service, "add-product", TEA | wrong)
    assert (heard.status, heard.json["title"], heard.json["field"]) == (200, "Invalid", field)
