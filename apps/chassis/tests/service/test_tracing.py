"""Which traces are kept, what is reported of them, and that nobody waits for Zipkin."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from aiohttp import ClientSession, web
from pydantic import BaseModel

from chassis.envelope import Command, Event
from chassis.operations import tracing
from chassis.process import Settings
from chassis.rules import Context, Documents, Outside, Rules
from chassis.service import Service
from chassis.sidecar import Answer
from chassis.work import Reply
from chassis_testing.memory import MemoryBroker, MemorySidecar, MemoryStore
from support.http import ask

TRACE = "0af7651916cd43dd8448eb211c80319c"
KEPT, UNKEPT = f"00-{TRACE}-b7ad6b7169203331-01", f"00-{TRACE}-b7ad6b7169203331-00"
INSIDE = {"dapr-caller-app-id": "gateway"}


class Lamp(BaseModel):
    lit: bool


class Lit(Event):
    topic = "elsewhere"
    aggregate = "lamp"
    key = "lamp"
    lamp: str


class Light(Command):
    lamp: str


def make_rules() -> Rules:
    rules = Rules()
    lamp = rules.document("lamp", Lamp)

    @lamp.evolve
    def evolve(state: Lamp | None, event: Lit) -> Lamp:
        return Lamp(lit=True)

    @rules.on(Lit, loads=lambda e: [lamp(e.lamp)])
    def lit(_docs: Documents, event: Lit, _context: Context) -> list[Lit]:
        return [event]

    @rules.command(Light, loads=lambda c: [lamp(c.lamp)])
    def light(_docs: Documents, command: Light, _context: Context) -> list[Lit]:
        return [Lit(lamp=command.lamp)]

    @rules.reactor("ring", Lit)
    async def ring(event: Lit, outside: Outside) -> None:
        await outside.invoke("neighbour", "ring", {"lamp": event.lamp})

    @rules.reactor("late", Lit, after=0.01)
    async def late(event: Lit, outside: Outside) -> None:
        await outside.bind("horn", "create", "toot", {})

    return rules


class House(Service):
    """A service of one lamp, and what its neighbour was told."""

    def __init__(self, store: MemoryStore) -> None:
        self.told: list[str] = []
        sidecar = MemorySidecar(store, MemoryBroker(), apps={"neighbour": self._neighbour})
        super().__init__("house", make_rules(), settings=Settings(), sidecar=sidecar)

        async def light(command: Light, _request: Any) -> Reply:
            tracing.tag(lamp=command.lamp)
            return await self.submit(command, Reply(202))

        self.accept("/light", Light, light)

    async def _neighbour(self, _method: str, _body: Any, _query: Any, headers: Any, _verb: str) -> Answer:
        self.told.append(headers["traceparent"])
        return Answer(200, b"null")


@pytest.fixture
def reporter() -> Iterator[tracing.Reporter]:
    made = tracing.Reporter("house", "http://127.0.0.1:1")
    tracing._reporters.append(made)
    yield made
    tracing._reporters.remove(made)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
async def house(store: MemoryStore, reporter: tracing.Reporter) -> AsyncIterator[House]:
    made = House(store)
    async with made.app.router.lifespan_context(made.app):
        assert made.engine
        await made.engine.ready.wait()
        yield made


async def spans(reporter: tracing.Reporter, count: int) -> list[dict[str, Any]]:
    async with asyncio.timeout(5):
        while len(reporter.spans) < count:
            await asyncio.sleep(0.005)
    return list(reporter.spans)


def event(trace: str) -> dict[str, Any]:
    return {
        "eventType": "Lit", "eventId": "e-1", "timestamp": "2026-01-01T00:00:00Z", "version": "1.0",
        "payload": {"lamp": "hall"}, "origin": "street/j/0/1#0", "traceparent": trace,
    }  # fmt: skip


async def test_a_request_from_outside_begins_a_trace_that_its_events_go_on(
    house: House, store: MemoryStore, reporter: tracing.Reporter
) -> None:
    heard = await ask(house.app, "POST", "/light", body={"lamp": "hall"})
    request = next(one for one in await spans(reporter, 4) if one.get("kind") == "SERVER")
    assert request["name"] == "POST /light"
    assert request["tags"] == {"http.status_code": "202", "lamp": "hall"}
    assert request["localEndpoint"] == {"serviceName": "house"}
    assert "parentId" not in request
    context = f"00-{request['traceId']}-{request['id']}-01"
    assert heard.headers["traceresponse"] == context
    assert json.loads(store.rows["journal:0:1"].value)["events"][0]["traceparent"] == context


async def test_the_handling_of_an_event_hangs_on_the_work_that_it_came_from(
    house: House, store: MemoryStore, reporter: tracing.Reporter
) -> None:
    await house.deliver(event(KEPT))
    handled = next(one for one in await spans(reporter, 4) if one.get("kind") == "CONSUMER")
    assert (handled["name"], handled["traceId"], handled["parentId"]) == ("Lit", TRACE, KEPT[36:52])
    assert handled["remoteEndpoint"] == {"serviceName": "street"}
    follows = json.loads(store.rows["journal:0:1"].value)["events"][0]
    assert follows["traceparent"] == f"00-{TRACE}-{handled['id']}-01"


async def test_what_a_reactor_asks_is_named_and_nobody_reports_it_twice(
    house: House, reporter: tracing.Reporter
) -> None:
    await house.deliver(event(KEPT))
    found = {one["name"]: one for one in await spans(reporter, 4)}
    assert set(found) == {"Lit", "ring", "reactor/ring", "create"}  # and none for waiting until a deadline
    assert found["reactor/ring"]["parentId"] == found["Lit"]["id"]
    assert found["ring"]["parentId"] == found["reactor/ring"]["id"]
    assert (found["ring"]["kind"], found["ring"]["remoteEndpoint"]["serviceName"]) == ("CLIENT", "neighbour")
    assert found["create"]["remoteEndpoint"]["serviceName"] == "horn"
    assert house.told == [f"00-{TRACE}-{found['ring']['id']}-00"]


async def test_a_trace_that_is_not_kept_goes_on_unreported(
    house: House, store: MemoryStore, reporter: tracing.Reporter
) -> None:
    await house.deliver(event(UNKEPT))
    async with asyncio.timeout(5):
        while not house.told:
            await asyncio.sleep(0.005)
    assert house.told == [UNKEPT]
    assert json.loads(store.rows["journal:0:1"].value)["events"][0]["traceparent"] == UNKEPT
    assert not reporter.spans


@pytest.mark.parametrize("path", ["/health", "/ready", "/status", "/dapr/subscribe"])
async def test_probes_are_not_traced(house: House, reporter: tracing.Reporter, path: str) -> None:
    assert "traceresponse" not in (await ask(house.app, "GET", path)).headers
    assert not reporter.spans


async def test_a_path_that_nobody_knows_stands_in_no_span(house: House, reporter: tracing.Reporter) -> None:
    await ask(house.app, "GET", "/somebody@example.org")
    assert [one["name"] for one in reporter.spans] == ["GET "]


def test_the_first_so_many_of_a_second_are_kept(reporter: tracing.Reporter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing.time, "monotonic", lambda: 7.5)
    reporter.per_second = 3
    assert [reporter.keeps("GET") for _ in range(5)] == [True, True, True, False, False]
    assert reporter.keeps("POST")
    monkeypatch.setattr(tracing.time, "monotonic", lambda: 8.1)
    assert reporter.keeps("POST")


@pytest.mark.parametrize(("share", "per_second"), [(0.0, 10), (1.0, 0)])
def test_none_are_kept_where_none_are_wanted(reporter: tracing.Reporter, share: float, per_second: int) -> None:
    reporter.share, reporter.per_second = share, per_second
    assert not any(reporter.keeps("POST") for _ in range(20))


def test_a_share_is_a_share(reporter: tracing.Reporter) -> None:
    reporter.share, reporter.per_second = 0.5, 10_000
    assert 300 < sum(reporter.keeps("POST") for _ in range(1000)) < 700


def test_a_stranger_s_wish_counts_as_ours_do_and_a_colleague_s_is_done(reporter: tracing.Reporter) -> None:
    reporter.per_second = 0
    assert tracing.follow(KEPT, outside="GET") == UNKEPT
    assert tracing.follow(KEPT) == KEPT
    reporter.per_second = 1000
    assert tracing.follow(KEPT, outside="GET") == KEPT
    assert tracing.follow(UNKEPT, outside="GET") == UNKEPT


def test_without_zipkin_nothing_is_kept() -> None:
    assert tracing.follow("").endswith("-00")


def test_a_refusal_is_no_error_and_a_failure_is(reporter: tracing.Reporter) -> None:
    class Refused(Exception):
        status = 409

    for kind in (Refused, ValueError):
        with pytest.raises(kind), tracing.span("x", parent=KEPT):
            raise kind
    assert [one.get("tags") for one in reporter.spans] == [None, {"error": "ValueError"}]


async def test_spans_are_sent_in_bulk_the_last_ones_at_the_end(unused_tcp_port: int) -> None:
    heard: list[list[dict[str, Any]]] = []

    async def take(request: web.Request) -> web.Response:
        heard.append(await request.json())
        return web.Response(status=202)

    reporter = tracing.Reporter("house", f"http://127.0.0.1:{unused_tcp_port}/api/v2/spans", every=0.02)
    running = asyncio.create_task(reporter.run())
    async with asyncio.timeout(10):
        while reporter not in tracing._reporters:
            await asyncio.sleep(0)
        for name in ("one", "two"):
            with tracing.span(name, parent=KEPT):
                pass
        app = web.Application()
        app.router.add_post("/api/v2/spans", take)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", unused_tcp_port).start()
        while not heard:
            await asyncio.sleep(0.01)
        with tracing.span("the last", parent=KEPT):
            pass
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await runner.cleanup()
    assert [[one["name"] for one in batch] for batch in heard] == [["one", "two"], ["the last"]]
    assert reporter not in tracing._reporters


async def test_what_nobody_takes_waits_for_a_zipkin_that_comes_later(
    reporter: tracing.Reporter, unused_tcp_port: int
) -> None:
    reporter.endpoint = f"http://127.0.0.1:{unused_tcp_port}"
    for name in ("one", "two"):
        with tracing.span(name, parent=KEPT):
            pass
    async with ClientSession() as http:
        await reporter._send(http)
    assert [one["name"] for one in reporter.spans] == ["one", "two"]


def test_the_queue_is_bounded_and_the_oldest_give_way(reporter: tracing.Reporter) -> None:
    for number in range(tracing.QUEUE + 10):
        with tracing.span(str(number), parent=KEPT):
            pass
    assert (len(reporter.spans), reporter.spans[0]["name"]) == (tracing.QUEUE, "10")
