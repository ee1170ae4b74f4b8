"""Placing orders against a small gateway that behaves as told."""

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import count

import pytest
from aiohttp import web

from outrigger.errors import LauncherError
from outrigger.load import AT_ONCE, percentile, place_orders
from outrigger.ports import LOOPBACK


@dataclass
class Gateway:
    """Orders end in `end` at the second look; the first `refuses` requests find no room."""

    end: str = "confirmed"
    refuses: int = 0
    invalid: bool = False
    url: str = ""
    products: list[dict[str, str]] = field(default_factory=lambda: [{"sku": "kayak"}, {"sku": "paddle"}])
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
        return web.json_response({"orderId": str(next(self.ids)), "status": "pending"}, status=202)

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


def test_percentiles_are_nearest_rank_in_milliseconds() -> None:
    seconds = [number / 1000 for number in range(1, 101)]
    assert (percentile(seconds, 50), percentile(seconds, 99), percentile([0.5], 99)) == (50.0, 99.0, 500.0)
