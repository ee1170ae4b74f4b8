"""A service as clients, other services and daprd meet it, over ASGI and the sidecar in memory."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict

from chassis import process
from chassis.envelope import Catalogue, Command, Envelope, Event
from chassis.operations import tracing
from chassis.problems import Conflict, Invalid, Problem
from chassis.process import Settings
from chassis.rules import Context, Documents, Rules
from chassis.service import Service
from chassis.sidecar import Answer, Unanswered, call
from chassis.work import Reply
from chassis_testing.memory import MemoryBroker, MemorySidecar, MemoryStore
from support.events import envelope
from support.http import ask


class Pile(BaseModel):
    model_config = ConfigDict(frozen=True)
    size: int


class Added(Event):
    topic = "elsewhere"
    aggregate = "pile"
    key = "pile"
    pile: str
    size: int


class Add(Command):
    pile: str
    size: int


def make_rules() -> Rules:
    rules = Rules()
    pile = rules.document("pile", Pile)

    @pile.evolve
    def evolve(state: Pile | None, event: Added) -> Pile:
        return Pile(size=(state.size if state else 0) + event.size)

    @rules.command(Add, loads=lambda c: [pile(c.pile)])
    def add(docs: Documents, command: Add, _context: Context) -> list[Added]:
        if docs[pile(command.pile)]:
            raise Conflict("there is a pile already; take another")
        return [Added(pile=command.pile, size=command.size)]

    @rules.on(Added, loads=lambda e: [pile(e.pile)])
    def added(_docs: Documents, event: Added, _context: Context) -> list[Added]:
        return [event]

    return rules


def make_service(store: MemoryStore, **settings: Any) -> Service:
    service = Service(
        "piles", make_rules(), settings=Settings(**settings), sidecar=MemorySidecar(store, MemoryBroker())
    )
    router = APIRouter()

    async def add(command: Add, request: Request) -> Reply:
        key = service.key(request, caller="me", body=await request.body())
        return await service.submit(command, Reply(202, {"pile": command.pile}), key=key)

    @router.post("/add-by-fastapi")
    async def add_by_fastapi(command: Add, request: Request) -> Response:
        return (await add(command, request)).response()

    service.accept("/add", Add, add)
    service.routes(router)
    return service


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
async def service(store: MemoryStore) -> AsyncIterator[Service]:
    made = make_service(store)
    async with made.app.router.lifespan_context(made.app):
        assert made.engine
        await made.engine.ready.wait()
        yield made


def cloud(data: Any, entry: str = "1") -> dict[str, Any]:
    return {"entryId": entry, "event": {"specversion": "1.0", "id": "x", "data": data}}


def plain(**changes: Any) -> dict[str, Any]:
    return envelope("Added", {"pile": "p", "size": 2}) | {"eventId": "e-1"} | changes


async def test_a_refusal_is_a_problem_for_clients_and_2xx_for_services(service: Service) -> None:
    body = {"pile": "p", "size": 1}
    assert (await ask(service.app, "POST", "/add", body=body)).status == 202
    refused = await ask(service.app, "POST", "/add", body=body)
    assert (refused.status, refused.json["title"]) == (409, "Conflict")
    between = await ask(service.app, "POST", "/add", body=body, headers={"dapr-caller-app-id": "gateway"})
    assert (between.status, between.json["status"]) == (200, 409)
    assert between.headers["content-type"] == "application/problem+json"


async def test_the_refusal_is_raised_again_by_the_caller(service: Service) -> None:
    async def app(*_: Any) -> Answer:
        heard = await ask(service.app, "POST", "/add", body={"pile": 1}, headers={"dapr-caller-app-id": "gateway"})
        return Answer(heard.status, heard.content, heard.headers)

    async def broken(*_: Any) -> Answer:
        return Answer(502, b"bad", {})

    caller = MemorySidecar(MemoryStore(), MemoryBroker(), apps={"piles": app, "broken": broken})
    with pytest.raises(Invalid) as refused:
        await call(caller, "piles", "add", body={})
    assert refused.value.extra["field"] == "pile"
    with pytest.raises(Unanswered):
        await call(caller, "broken", "add", body={})


@pytest.mark.parametrize(
    ("path", "body", "status", "field"),
    [
        ("/add", b"{", 422, "(body)"),
        ("/add", {"pile": "p", "size": "x"}, 422, "size"),
        ("/add", {"pile": "p", "size": 1, "more": 1}, 422, "more"),
        ("/nowhere", {}, 404, None),
    ],
)
async def test_bad_requests_name_the_field(service: Service, path: str, body: Any, status: int, field: str) -> None:
    heard = await ask(service.app, "POST", path, body=body)
    assert (heard.status, heard.json.get("field")) == (status, field)
    assert heard.headers["content-type"] == "application/problem+json"


JSON = "application/json"


@pytest.mark.parametrize(
    ("body", "kind", "alike"),
    [
        (b"{}", JSON, True), ({"pile": "p", "size": "x"}, JSON, True), ({"pile": 1}, f"{JSON}; charset=utf-8", True),
        ({"pile": "p", "size": 1, "more": 1}, "Application/JSON", True), (b"{", JSON, True),
        (b"", JSON, False), (b"[]", JSON, False), ({"pile": "p", "size": 1}, "text/plain", False),
    ],
)  # fmt: skip
async def test_a_plain_route_refuses_as_fastapi_does(service: Service, body: Any, kind: str, alike: bool) -> None:
    headers = {"content-type": kind}
    plain, full = [await ask(service.app, "POST", p, body=body, headers=headers) for p in ("/add", "/add-by-fastapi")]
    assert (plain.status, plain.headers["content-type"]) == (full.status, full.headers["content-type"])
    assert plain.json == full.json | ({} if alike else {"detail": plain.json["detail"]})


@pytest.mark.parametrize("announced", ["1100000", "1"])
async def test_a_large_body_is_cut(service: Service, announced: str) -> None:
    heard = await ask(service.app, "POST", "/add", body=b" " * 1_100_000, headers={"content-length": announced})
    assert heard.status == 413
    assert heard.json["title"] == "TooLarge"


async def test_each_entry_of_a_bulk_is_answered(service: Service, store: MemoryStore) -> None:
    entries = [
        cloud(plain(), "good"), cloud(plain(), "again"), cloud(plain(eventType="Else"), "unhandled"),
        cloud(plain(version="9"), "unknown"), cloud("nonsense", "text"), cloud({"no": "type"}, "typeless"),
        cloud(plain(eventId="a/b"), "named like a command"), cloud(plain(payload={"pile": 1}), "malformed"),
    ]  # fmt: skip
    heard = await ask(service.app, "POST", "/events", body={"entries": entries})
    assert [(s["entryId"], s["status"]) for s in heard.json["statuses"]] == [(e["entryId"], "SUCCESS") for e in entries]
    letters = [json.loads(row.value) for key, row in store.rows.items() if key.startswith("dead:")]
    assert len(letters) == 5
    assert all(letter["reason"] for letter in letters)
    pile = json.loads(store.rows["doc:pile:p"].value)
    assert pile == {"revision": 1, "state": {"size": 2}}


@pytest.mark.parametrize(("topic", "taken"), [("elsewhere", True), ("piles-dead", True), ("others", False)])
async def test_an_event_counts_on_its_owner_s_topic_and_as_a_dead_letter(
    service: Service, store: MemoryStore, topic: str, *, taken: bool
) -> None:
    for body in ({"topic": topic, "entries": [cloud(plain())]}, {"topic": topic, "data": plain(eventId="e-2")}):
        heard = await ask(service.app, "POST", "/events", body=body)
        assert b"SUCCESS" in heard.content
    assert ("doc:pile:p" in store.rows) is taken


async def test_a_single_event_is_taken_too(service: Service, store: MemoryStore) -> None:
    heard = await ask(service.app, "POST", "/events", body={"specversion": "1.0", "data": plain()})
    assert heard.json == {"status": "SUCCESS"}
    assert "doc:pile:p" in store.rows


async def test_events_do_not_come_by_invocation(service: Service, store: MemoryStore) -> None:
    heard = await ask(
        service.app, "POST", "/events", body={"entries": [cloud(plain())]}, headers={"dapr-caller-app-id": "x"}
    )
    assert heard.json["title"] == "Forbidden"
    assert "doc:pile:p" not in store.rows


async def test_subscriptions_are_bulk_and_have_a_dead_letter_topic(service: Service) -> None:
    heard = await ask(service.app, "GET", "/dapr/subscribe")
    bulk = {"enabled": True, "maxMessagesCount": 100, "maxAwaitDurationMs": 10}
    common = {"pubsubname": "pubsub", "route": "/events", "bulkSubscribe": bulk}
    assert heard.json == [
        {**common, "topic": "elsewhere", "deadLetterTopic": "piles-dead"},
        {**common, "topic": "piles-dead"},
    ]


async def test_health_and_readiness(store: MemoryStore) -> None:
    service = make_service(store)
    assert (await ask(service.app, "GET", "/health")).status == 200
    before = await ask(service.app, "GET", "/ready")
    assert (before.status, before.json["ready"]) == (503, False)
    async with service.app.router.lifespan_context(service.app):
        assert service.engine
        await service.engine.ready.wait()
        assert (await ask(service.app, "GET", "/ready")).json == {"ready": True, "degraded": False, "reasons": []}
    assert (await ask(service.app, "GET", "/ready")).status == 503


async def test_an_unfit_store_keeps_the_service_unready_and_says_why() -> None:
    class Torn(MemoryStore):
        def apply(self, operations: Any, now: float) -> None:
            for each in operations:
                super().apply([each], now)

    service = make_service(Torn())
    async with service.app.router.lifespan_context(service.app):
        assert service.engine
        async with asyncio.timeout(5):
            while "rollback" not in service.engine.reason:
                await asyncio.sleep(0.005)
        heard = await ask(service.app, "GET", "/ready")
        assert heard.status == 503
        assert "PostgreSQL" in heard.json["reason"]
        assert (await ask(service.app, "POST", "/add", body={"pile": "p", "size": 1})).status == 503


async def test_a_token_is_asked_of_all_but_probes(store: MemoryStore) -> None:
    service = make_service(store, app_api_token="right")  # noqa: S106 - a test's
    assert (await ask(service.app, "GET", "/dapr/subscribe")).status == 403
    assert (await ask(service.app, "GET", "/dapr/subscribe", headers={"dapr-api-token": "wrong"})).status == 403
    assert (await ask(service.app, "GET", "/dapr/subscribe", headers={"dapr-api-token": "right"})).status == 200
    assert (await ask(service.app, "GET", "/health")).status == 200


async def test_the_trace_goes_on_in_the_journal(service: Service, store: MemoryStore) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await ask(service.app, "POST", "/add", body={"pile": "p", "size": 1}, headers={"traceparent": trace})
    record = json.loads(store.rows["journal:0:1"].value)
    assert record["events"][0]["traceparent"].startswith(trace[:36])


def test_a_log_line_is_json_with_the_trace() -> None:
    tracing.follow("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    record = logging.makeLogRecord({"msg": "hello %s", "args": ("you",), "name": "x", "levelname": "INFO", "lane": 3})
    line = json.loads(process.JsonFormatter().format(record))
    assert (line["message"], line["trace"], line["lane"]) == ("hello you", "0af7651916cd43dd8448eb211c80319c", 3)


@pytest.mark.parametrize("bad", ["", "00-0-0-0", "00-" + "0" * 32 + "-b7ad6b7169203331-01", "rubbish\r\nx"])
def test_a_bad_traceparent_begins_a_new_trace(bad: str) -> None:
    assert tracing.follow(bad) != bad


def test_every_problem_survives_the_way_between_services() -> None:
    for kind in (k for k in Problem.__subclasses__() if k.__module__ == Problem.__module__):
        again = Problem.parse(kind("why", field="x").body())
        assert (type(again), again.detail, again.extra) == (kind, "why", {"field": "x"})


def test_an_envelope_names_what_is_wrong() -> None:
    with pytest.raises(Invalid, match="timestamp"):
        Envelope.parse(plain(timestamp="yesterday"))


def test_older_versions_are_upcast() -> None:
    class RenamedV1(Event):
        event_type = "Renamed"
        aggregate, key = "pile", "pile"
        pile: str

        def upcast(self) -> "Renamed":
            return Renamed(pile=self.pile, weight=0)

    class Renamed(Event):
        version = "2.0"
        older = (RenamedV1,)
        aggregate, key = "pile", "pile"
        pile: str
        weight: int

    catalogue = Catalogue()
    catalogue.add(Renamed)
    old = Envelope.parse(plain(eventType="Renamed"))
    assert catalogue.read(old) == Renamed(pile="p", weight=0)
