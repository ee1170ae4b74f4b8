"""What operators ask of a service: how it stands, its figures, its dead letters, a view built anew."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from chassis import followers
from chassis.envelope import Command, Event
from chassis.process import Settings
from chassis.rules import Context, Documents, Outside, Rules
from chassis.service import Service
from chassis.sidecar import Answer
from chassis.work import Reply
from chassis_testing.memory import MemoryBroker, MemorySidecar, MemoryStore
from support.events import envelope
from support.http import Heard, ask


class Pile(BaseModel):
    model_config = ConfigDict(frozen=True)
    pile: str
    size: int


class Added(Event):
    topic, aggregate, key = "elsewhere", "pile", "pile"
    pile: str
    size: int


class Add(Command):
    pile: str
    size: int


class Weighed(Event):
    aggregate, key, published = "scale", "pile", False
    pile: str
    grams: int


class Weigh(Command):
    pile: str
    grams: int


class World:
    """One service with a reactor, a view and a handler that can be broken; its broker and the scale it asks."""

    def __init__(self) -> None:
        self.broken, self.scale_works, self.asked = False, True, list[str]()
        self.store, self.broker = MemoryStore(), MemoryBroker()
        self.rules = self._rules()
        sidecar = MemorySidecar(self.store, self.broker, apps={"scale": self._scale})
        self.service = Service("piles", self.rules, settings=Settings(lease=0.3), sidecar=sidecar)

    def _rules(self) -> Rules:
        rules = Rules()
        pile, scale = rules.document("pile", Pile), rules.document("scale", Pile)
        view = rules.view("piles", Pile, Added, group=lambda _row: "all")

        @view.folds
        @pile.evolve
        def evolve(state: Pile | None, event: Added) -> Pile:
            return Pile(pile=event.pile, size=(state.size if state else 0) + event.size)

        @scale.evolve
        def weighed(_state: Pile | None, event: Weighed) -> Pile:
            return Pile(pile=event.pile, size=event.grams)

        @rules.on(Added, loads=lambda e: [pile(e.pile)])
        def added(_docs: Documents, event: Added, _context: Context) -> list[Added]:
            if self.broken:
                raise ZeroDivisionError("a bug")
            return [event]

        @rules.command(Add, loads=lambda c: [pile(c.pile)])
        def add(_docs: Documents, command: Add, _context: Context) -> list[Added]:
            return [Added(pile=command.pile, size=command.size)]

        @rules.command(Weigh, loads=lambda c: [scale(c.pile)])
        def weigh(_docs: Documents, command: Weigh, _context: Context) -> list[Weighed]:
            return [Weighed(pile=command.pile, grams=command.grams)]

        @rules.reactor("weigh", Added, attempts=1)
        async def ask_scale(event: Added, outside: Outside) -> Command:
            self.asked.append(outside.idempotency_key)
            return Weigh(pile=event.pile, grams=(await outside.invoke("scale", "weigh"))["grams"])

        return rules

    async def _scale(self, *_: Any) -> Answer:
        return Answer(200, b'{"grams": 7}') if self.scale_works else Answer(500, b"no")

    async def add(self, pile: str) -> None:
        await self.service.submit(Add(pile=pile, size=1), Reply())

    async def get(self, path: str, **query: str) -> Heard:
        return await ask(self.service.app, "GET", path, query=query)

    async def post(self, path: str, body: Any, **headers: str) -> Heard:
        return await ask(self.service.app, "POST", path, body=body, headers=headers)

    async def letters(self, **query: str) -> list[dict[str, Any]]:
        return (await self.get("/dead-letters", **query)).json["letters"]

    async def one_letter(self) -> dict[str, Any]:
        async with asyncio.timeout(10):
            while not (found := await self.letters()):
                await asyncio.sleep(0.01)
        (letter,) = found
        return letter

    async def publish(self, event: Any) -> None:
        await self.service.deliver({"data": event})


@asynccontextmanager
async def running(world: World) -> AsyncIterator[World]:
    async with world.service.app.router.lifespan_context(world.service.app):
        assert world.service.engine
        await world.service.engine.ready.wait()
        yield world


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with running(World()) as made:
        yield made


def event(**changes: Any) -> dict[str, Any]:
    return envelope("Added", {"pile": "p", "size": 2}) | {"eventId": "e-1"} | changes


BAD = {
    "unknown version": (event(version="9.0"), "version 9.0 is unknown here", "version 9.0 is unknown here"),
    "malformed": (event(payload={"pile": 1}), "payload.*pile", "payload.*pile"),
    "no envelope": ("good morning", "envelope", "never an event that could be read"),
    "too large": (event(payload={"pile": "x" * 300_000}), r"300\d+ bytes; the limit is 262144", "300.* bytes; the"),
}


@pytest.mark.parametrize(("bad", "why", "still"), BAD.values(), ids=BAD)
async def test_a_bad_event_is_a_letter_that_says_why_and_stays_while_it_is_bad(
    world: World, bad: Any, why: str, still: str
) -> None:
    await world.publish(bad)
    letter = await world.one_letter()
    assert re.search(why, letter["reason"])
    shown = (await world.get("/dead-letter", id=letter["id"])).json
    assert shown["message"] == bad or shown["message"] in str(bad) or len(shown["message"]) == 64 * 1024
    refused = await world.post("/redrive", {"id": letter["id"]})
    assert (refused.status, refused.headers["content-type"]) == (422, "application/problem+json")
    assert re.search(still, refused.json["detail"])
    assert await world.letters() == [letter]


async def test_a_letter_whose_handler_was_mended_is_redriven_once(world: World) -> None:
    world.broken = True
    await world.publish(event())
    letter = await world.one_letter()
    assert letter["reason"] == "ZeroDivisionError: a bug"
    failed = await world.post("/redrive", {"id": letter["id"]})
    assert (failed.status, failed.json["detail"]) == (500, "it failed again: ZeroDivisionError: a bug")
    world.broken = False
    assert (await world.post("/redrive", {"id": letter["id"]})).status == 200
    assert world.store.rows["doc:pile:p"]
    assert await world.letters() == []
    assert [each["open"] for each in await world.letters(closed="true")] == [False]
    again = await world.post("/redrive", {"id": letter["id"]})
    assert (again.status, again.json["title"]) == (409, "Conflict")


async def test_a_reaction_is_redriven_under_the_same_key(world: World) -> None:
    world.scale_works = False
    await world.add("p")
    letter = await world.one_letter()
    assert (letter["kind"], letter["eventType"]) == ("reaction", "Added")
    failed = await world.post("/redrive", {"id": letter["id"]})
    assert (failed.status, failed.json["detail"]) == (500, "it failed again: Unanswered: scale/weigh answered 500: no")
    world.scale_works = True
    assert (await world.post("/redrive", {"id": letter["id"]})).status == 200
    assert len(world.asked) == 3
    assert set(world.asked) == {letter["messageId"]}
    assert b'"size":7' in world.store.rows["doc:scale:p"].value
    assert await world.letters() == []


async def test_a_publication_is_offered_to_the_broker_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followers, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(followers, "LAST_PAUSE", 0.001)
    monkeypatch.setattr(followers, "REFUSALS", 2)
    world.broker.refuse = lambda _topic, entry: entry.event["payload"]["pile"] == "bad"
    await world.add("bad")
    async with asyncio.timeout(10):
        while not await world.letters():
            await world.add("good")  # it is put aside only if others pass
    letter = await world.one_letter()
    assert letter["kind"] == "publication"
    assert (await world.post("/redrive", {"id": letter["id"]})).status == 503
    world.broker.refuse = lambda _topic, _entry: False
    assert (await world.post("/redrive", {"id": letter["id"]})).status == 200
    assert "bad" in {event["payload"]["pile"] for event in world.broker.published["piles"]}
    assert await world.letters() == []


async def test_letters_are_listed_a_hundred_at_a_time(world: World) -> None:
    for number in range(130):
        await world.publish(event(eventId=f"e-{number}", version="9"))
    first = (await world.get("/dead-letters")).json
    second = (await world.get("/dead-letters", after=first["next"])).json
    assert (len(first["letters"]), len(second["letters"]), second["next"]) == (100, 30, None)


@pytest.mark.parametrize("name", ["dead:0:1", "dead:7:1"])
async def test_an_unknown_letter_is_not_found(world: World, name: str) -> None:
    assert (await world.get("/dead-letter", id=name)).status == 404
    assert (await world.post("/redrive", {"id": name})).status == 404


async def test_a_letter_is_named_as_a_letter(world: World) -> None:
    assert (await world.get("/dead-letter", id="doc:pile:p")).json["field"] == "id"


@pytest.mark.parametrize(
    ("verb", "path"),
    [
        ("GET", "/dead-letters"),
        ("GET", "/dead-letter"),
        ("POST", "/redrive"),
        ("POST", "/rebuild"),
        ("GET", "/rebuild"),
    ],
)
async def test_no_service_operates_another(world: World, verb: str, path: str) -> None:
    heard = await ask(world.service.app, verb, path, body={}, headers={"dapr-caller-app-id": "gateway"})
    assert heard.json["title"] == "Forbidden"


async def test_a_view_is_rebuilt_in_the_background(world: World) -> None:
    for number in range(5):
        await world.add(f"p-{number}")
    begun = await world.post("/rebuild", {"view": "piles"})
    assert (begun.status, begun.json["building"]) == (202, 1)
    again = await world.post("/rebuild", {"view": "piles"})
    assert (again.status, again.json["title"]) == (409, "Conflict")
    async with asyncio.timeout(10):
        while (told := (await world.get("/rebuild", view="piles")).json)["building"] is not None:
            await world.add("p-0")  # there is no moment at which nothing comes
    assert told["active"] == 1
    assert len(await world.service.page(world.rules.views["piles"], "all", 0)) == 5


async def test_a_rebuild_whose_process_ended_is_ended_by_the_next() -> None:
    world = World()
    async with running(world):
        await world.add("p")
        assert world.service.engine
        await world.service.engine.views.begin_rebuild("piles")
    after = World()
    after.store = world.store
    after.service = Service(
        "piles", after.rules, settings=Settings(lease=0.3), sidecar=MemorySidecar(world.store, world.broker)
    )
    async with running(after), asyncio.timeout(10):
        while (await after.get("/rebuild", view="piles")).json["building"] is not None:
            await asyncio.sleep(0.01)


async def test_an_unknown_view_is_not_found(world: World) -> None:
    for heard in (await world.post("/rebuild", {"view": "nobodys"}), await world.get("/rebuild", view="nobodys")):
        assert (heard.status, heard.json["field"]) == (404, "view")
        assert "it has: piles" in heard.json["detail"]


async def test_status_tells_how_it_stands(world: World) -> None:
    await world.add("p")
    told = (await world.get("/status")).json
    assert (told["service"], told["ready"], told["views"]) == ("piles", True, ["piles"])
    assert [lane["lane"] for lane in told["lanes"]] == [0]
    assert set(told["lanes"][0]["behind"]) == {"relay", "reactor/weigh", "view/piles/0"}


async def test_status_is_told_to_other_services_and_before_anything_runs() -> None:
    world = World()
    heard = await ask(world.service.app, "GET", "/status", headers={"dapr-caller-app-id": "gateway"})
    assert (heard.status, heard.json["ready"], heard.json["lanes"]) == (200, False, [])


async def test_the_figures_are_in_prometheus_text(world: World) -> None:
    await world.add("p")
    async with asyncio.timeout(10):
        while "scale" not in [circuit.app for circuit in world.service.sidecar.circuits]:
            await asyncio.sleep(0.01)
    heard = await world.get("/metrics")
    assert heard.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = heard.content.decode().splitlines()
    assert "outrigger_commands_accepted_total 1" in lines
    assert 'outrigger_backlog_records{lane="0"} 0' in lines or 'outrigger_backlog_records{lane="0"} 1' in lines
    assert 'outrigger_circuit{target="scale",method="weigh",state="closed"} 1.0' in lines
    assert 'outrigger_circuit{target="scale",method="weigh",state="open"} 0.0' in lines
    form = re.compile(r'# TYPE [a-z_]+ (counter|gauge)|[a-z_]+(\{([a-z]+="[^"\\]*",?)+\})? -?[0-9.]+')
    assert [line for line in lines if not form.fullmatch(line)] == []


async def test_a_service_without_an_engine_has_status_and_figures_only() -> None:
    service = Service("edge", sidecar=MemorySidecar(MemoryStore(), MemoryBroker()))
    assert (await ask(service.app, "GET", "/status")).json["lanes"] == []
    assert (await ask(service.app, "GET", "/metrics")).status == 200
    assert (await ask(service.app, "GET", "/dead-letters")).status == 404
