"""What a swap looks at: figures of the services, what their sidecars run on, and consumers' cursors."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from chassis.reconciliation import cursor
from chassis.sidecar import Put
from chassis_testing.memory import MemoryBroker, MemorySidecar, MemoryStore
from outrigger.figures import DELIVERIES, OPEN, REPAIRED, RETRIES, figures
from outrigger.ledgers import Store
from outrigger.ports import LOOPBACK, free_ports
from outrigger.quiet import Told, has_settled
from outrigger.sidecars import deliveries, publish_probe, runs_on, topics_of
from outrigger.state import ProcessState, ServiceState
from outrigger.swap import Swapped

METRICS = """# TYPE outrigger_repaired_events_total counter
outrigger_repaired_events_total{producer="orders"} 3
outrigger_repaired_events_total{producer="payments"} 4
outrigger_publish_retries_total{lane="0"} 20
outrigger_deliveries_total{topic="orders"} 7
outrigger_deliveries_total{topic="orders-dead"} 1
outrigger_deliveries_open 2
"""
METADATA = {
    "components": [{"name": "pubsub", "type": "pubsub.kafka"}, {"name": "store", "type": "state.sqlite"}],
    "subscriptions": [{"topic": "orders"}, {"topic": "orders-dead"}],
}


class Service:
    """An app and its sidecar, both on one port."""

    def __init__(self, port: int) -> None:
        self.published: list[Any] = []
        process = ProcessState(name="x")
        ports = {"app_port": port, "dapr_http_port": port, "dapr_grpc_port": port}
        self.state = ServiceState(app_id="x", app=process, sidecar=process, **ports)

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/metrics", self.metrics)
        app.router.add_get("/v1.0/metadata", self.metadata)
        app.router.add_post("/v1.0/publish/pubsub/orders", self.publish)
        return app

    async def metrics(self, _: web.Request) -> web.Response:
        return web.Response(text=METRICS)

    async def metadata(self, _: web.Request) -> web.Response:
        return web.json_response(METADATA)

    async def publish(self, request: web.Request) -> web.Response:
        self.published.append(await request.json())
        return web.Response(status=204)


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    (port,) = free_ports(1)
    service = Service(port)
    runner = web.AppRunner(service.app())
    await runner.setup()
    await web.TCPSite(runner, LOOPBACK, port).start()
    yield service
    await runner.cleanup()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http:
        yield http


async def test_figures_are_added_up_and_who_is_silent_has_none(http: aiohttp.ClientSession, service: Service) -> None:
    silent = Service(free_ports(1)[0]).state
    found = await figures(http, [service.state, service.state, silent])
    assert (found[REPAIRED, ""], found[RETRIES, ""], found[OPEN, ""]) == (14, 40, 4)
    assert (found[DELIVERIES, "orders"], found[DELIVERIES, "orders-dead"]) == (14, 2)
    assert await deliveries(http, service.state) == {"orders": 7, "orders-dead": 1}
    assert await deliveries(http, silent) == {}


async def test_sidecars_say_what_they_run_on(http: aiohttp.ClientSession, service: Service) -> None:
    silent = Service(free_ports(1)[0]).state
    assert await runs_on(http, service.state, "pubsub.kafka")
    assert not await runs_on(http, service.state, "pubsub.redis")
    assert not await runs_on(http, silent, "pubsub.kafka")
    assert await topics_of(http, service.state) == {"orders", "orders-dead"}
    assert await publish_probe(http, service.state, "orders")
    assert not await publish_probe(http, service.state, "nowhere")
    assert not await publish_probe(http, silent, "orders")
    assert service.published == [{"eventType": "BrokerProbe"}]


@pytest.mark.parametrize(
    ("lanes", "types", "settled"),
    [
        ({"0": 5, "1": 2}, {"A": {}}, True),
        ({"0": 4, "1": 2}, {"A": {}}, False),
        ({"0": 5}, {"A": {}}, False),
        ({"0": 4, "1": 1}, {"A": {"0": 5, "1": 2}}, True),
        ({"0": 4, "1": 2}, {"A": {"0": 5}, "B": {}}, False),
    ],
)
async def test_a_cursor_that_has_passed_the_journal_settles_it(
    lanes: dict[str, int], types: dict[str, Any], *, settled: bool
) -> None:
    store = Store("payments", "http://127.0.0.1:9")
    store.sidecar = MemorySidecar(MemoryStore(), MemoryBroker())
    await store.sidecar.transact([Put(cursor.name("orders", "j1"), {"lanes": lanes, "types": types})])
    assert await has_settled(store, {"orders": Told("j1", {0: 5, 1: 2}), "users": Told("j2", {0: 9})}) is settled


async def test_who_does_not_answer_has_settled_nothing() -> None:
    (port,) = free_ports(1)
    store = Store("payments", f"http://{LOOPBACK}:{port}")
    assert not await has_settled(store, {"orders": Told("j1", {0: 5})})
    await store.sidecar.close()


def test_what_a_swap_did_is_told_in_words() -> None:
    done = Swapped(before="redis", after="kafka", taken=0.41, restarted=[], retried=3, repaired=7, quiet=12.26)
    assert "quiet     after 12.3 s" in done.told()
    assert "restarted" not in done.told()
    bad = done.model_copy(update={"restarted": ["orders.daprd"], "quiet": None})
    assert "restarted orders.daprd, which did not take it" in bad.told()
    assert "quiet     not within 300 s" in bad.told()
