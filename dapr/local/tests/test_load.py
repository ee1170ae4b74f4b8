"""Placing orders against a small gateway that behaves as told."""

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest
from aiohttp import web

from outrigger.errors import LauncherError
from outrigger.load import AT_ONCE, Moods, percentile, place_orders
from outrigger.ports import LOOPBACK

PRODUCTS = ({"sku": "kayak", "available": 500}, {"sku": "paddle", "available": 100}, {"sku": "relic", "available": 5})


@dataclass
class Gateway:
    """Orders end in `end` at the second look; the first `refuses` requests find no room."""

    end: str = "confirmed"
    refuses: int = 0
    invalid: bool = False
    url: str = ""
    products: list[dict[str, Any]] = field(default_factory=lambda: [dict(product) for product in PRODUCTS])
    orders: list[dict[str, Any]] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    too_late: bool = False
    keys: Counter[str] = field(default_factory=Counter)
    looks: Counter[str] = field(default_factory=Counter)
    ids: "count[int]" = field(default_factory=count)

    async def list_products(self, _: web.Request) -> web.Response:
        return web.json_response({"products": self.products})

    async def place(self, request: web.Request) -> web.Response:
        self.keys[request.headers["Idempotency-Key"]] += 1
        if self.invalid:
            return web.json_response({"detail": "no such user"}, status=422)
        if self.refuses:
            self.refuses -= 1
            return web.json_response({}, status=503)
        self.orders.append(await request.json())
        return web.json_response({"orderId": str(next(self.ids)), "status": "pending"}, status=202)

    async def cancel(self, request: web.Request) -> web.Response:
        self.cancelled.append(request.match_info["id"])
        return web.json_response({}, status=409 if self.too_late else 200)

    async def look(self, request: web.Request) -> web.Response:
        order = request.match_info["id"]
        self.looks[order] += 1
        return web.json_response({"orderId": order, "status": self.end if self.looks[order] > 1 else "pending"})


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    served, app = Gateway(), web.Application()
    app.router.add_get("/api/v1/products", served.list_products)
    app.router.add_post("/api/v1/orders", served.place)
    app.router.add_get("/api/v1/orders/{id}", served.look)
    app.router.add_post("/api/v1/orders/{id}/cancel", served.cancel)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, LOOPBACK, 0)
    await site.start()
    served.url = f"http://{LOOPBACK}:{runner.addresses[0][1]}"
    yield served
    await runner.cleanup()


async def test_each_order_is_seen_to_its_end(gateway: Gateway) -> None:
    tally = await place_orders(gateway.url, count=2 * AT_ONCE, wait=True, within=20)
    summary = tally.summary()
    assert (summary["confirmed"], summary["cancelled"], summary["open"]) == (2 * AT_ONCE, 0, 0)
    assert 0 < summary["latency_ms"]["p50"] <= summary["latency_ms"]["p99"]


async def test_without_waiting_all_are_open(gateway: Gateway) -> None:
    summary = (await place_orders(gateway.url, count=3, wait=False, within=20)).summary()
    assert summary == {"confirmed": 0, "cancelled": 0, "open": 3, "latency_ms": {"p50": None, "p99": None}}


async def test_what_does_not_end_in_time_is_open(gateway: Gateway) -> None:
    gateway.end = "pending"
    assert (await place_orders(gateway.url, count=2, wait=True, within=0.2)).summary()["open"] == 2


async def test_no_room_means_again_with_the_same_key(gateway: Gateway) -> None:
    gateway.refuses = 1
    tally = await place_orders(gateway.url, count=1, wait=True, within=20)
    assert tally.summary()["confirmed"] == 1
    assert list(gateway.keys.values()) == [2]


async def test_a_refusal_ends_it_in_the_gateway_s_words(gateway: Gateway) -> None:
    gateway.invalid = True
    with pytest.raises(LauncherError, match=r"POST /api/v1/orders was refused with 422: .*no such user"):
        await place_orders(gateway.url, count=AT_ONCE, wait=True, within=20)


async def test_an_empty_catalogue_is_one_sentence(gateway: Gateway) -> None:
    gateway.products = []
    with pytest.raises(LauncherError, match="catalogue is empty"):
        await place_orders(gateway.url, count=1, wait=True, within=5)


async def test_orders_are_spread_over_customers_and_over_what_there_is_plenty_of(gateway: Gateway) -> None:
    await place_orders(gateway.url, count=40, wait=False, within=20)
    assert {order["userId"] for order in gateway.orders} == {f"user-{number}" for number in range(1, 21)}
    assert {item["sku"] for order in gateway.orders for item in order["items"]} == {"kayak", "paddle"}


async def test_some_order_more_than_there_is(gateway: Gateway) -> None:
    await place_orders(gateway.url, count=100, wait=False, within=20, moods=Moods(reject=2))
    wanted = [item for order in gateway.orders for item in order["items"] if item["sku"] == "relic"]
    assert [item["quantity"] for item in wanted] == [100, 100]


@pytest.mark.parametrize("too_late", [False, True])
async def test_some_change_their_mind_and_may_be_too_late(gateway: Gateway, too_late: bool) -> None:
    gateway.too_late = too_late
    tally = await place_orders(gateway.url, count=100, wait=True, within=30, moods=Moods(cancel=3))
    assert len(set(gateway.cancelled)) == len(gateway.cancelled) == 3
    assert tally.summary()["confirmed"] == 100


async def test_where_there_is_plenty_of_everything_nothing_can_be_rejected(gateway: Gateway) -> None:
    gateway.products = gateway.products[:2]
    with pytest.raises(LauncherError, match="plenty of everything"):
        await place_orders(gateway.url, count=1, wait=False, within=5, moods=Moods(reject=1))


@pytest.mark.parametrize("moods", [Moods(), Moods(cancel=1), Moods(reject=2), Moods(5, 7)])
def test_moods_are_exact_in_every_hundred(moods: Moods) -> None:
    counted = Counter(moods.of(number) for number in range(2000))
    assert (counted["cancel"], counted["reject"]) == (20 * moods.cancel, 20 * moods.reject)


def test_percentiles_are_nearest_rank_in_milliseconds() -> None:
    seconds = [number / 1000 for number in range(1, 101)]
    assert (percentile(seconds, 50), percentile(seconds, 99), percentile([0.5], 99)) == (50.0, 99.0, 500.0)
