"""A shop that sells, and a till that counts what was sold; a broker between them that can lose things. Virtual time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

from pydantic import BaseModel, ConfigDict

from chassis import keys
from chassis.envelope import Command, Event
from chassis.process import Settings
from chassis.rules import Rules
from chassis.service import Service
from chassis.sidecar import CALLER, Answer
from chassis.work import Reply
from chassis_testing.memory import App, MemoryBroker, MemorySidecar, MemoryStore
from chassis_testing.virtual_time import VirtualLoop
from support.http import ask

EVERY, PATIENCE = 2.0, 4.0  # s, as by default
KEPT = 60.0  # s, not an hour
LONG = 3 * (EVERY + 2 * PATIENCE)  # s that repair everything


class Count(BaseModel):
    model_config = ConfigDict(frozen=True)
    count: int = 0


class Sell(Command):
    what: str


class GiveBack(Command):
    what: str


class Sold(Event):
    topic, aggregate, key = "shop", "thing", "what"
    what: str


class Returned(Event):
    topic, aggregate, key = "shop", "thing", "what"
    what: str


class Counted(Event):
    aggregate, key, published = "sum", "name", False
    name: str


def shop_rules() -> Rules:
    rules = Rules()
    thing = rules.document("thing", Count)
    thing.evolve(lambda state, _event: Count(count=(state.count if state else 0) + 1))
    for command, event in ((Sell, Sold), (GiveBack, Returned)):
        rules.command(command, loads=lambda c: (thing(c.what),))(lambda _d, c, _x, event=event: (event(what=c.what),))
    return rules


def till_rules(*handled: type[Event], history: bool = True, broken: bool = True) -> Rules:
    """Count by type and thing; where anything is `broken`, things of that name cannot be counted."""
    rules = Rules()
    total = rules.document("sum", Count)
    total.evolve(lambda state, _event: Count(count=(state.count if state else 0) + 1))

    def name(event: Any) -> str:
        return f"{event.event_type}-{event.what}"

    def count(_docs: Any, event: Any, _context: Any) -> tuple[Event, ...]:
        if broken and event.what == "broken":
            raise ValueError("this cannot be counted")
        return (Counted(name=name(event)),)

    for event in handled:
        rules.on(event, loads=lambda e: (total(name(e)),), history=history)(count)
    return rules


class Town:
    """Two stores, a broker, and the services on them."""

    def __init__(self) -> None:
        self.broker = MemoryBroker()
        self.stores = {"shop": MemoryStore(), "till": MemoryStore()}
        self.apps: dict[str, App] = {}
        self.asked: list[str] = []  # methods, by service invocation
        self.slow = 0  # events that the broker hands over each second; 0 for all at once

    @asynccontextmanager
    async def open(self, name: str, rules: Rules, instance: str = "a") -> AsyncIterator[Service]:
        """Run a replica."""
        loop = asyncio.get_running_loop()
        sidecar = MemorySidecar(self.stores[name], self.broker, apps=self.apps, clock=loop.time)
        settings = Settings(instance=instance, walk_every=EVERY, walk_patience=PATIENCE, lease=3.0, marks_kept=KEPT)
        service = Service(name, rules, settings=settings, sidecar=sidecar)
        self.apps[name] = partial(self._reached, service)
        detach = [
            self.broker.attach(each["topic"], partial(self._take, service), group=name)
            for each in service.subscriptions()
        ]
        async with service.app.router.lifespan_context(service.app):
            assert service.engine
            await service.engine.ready.wait()
            yield service
        for off in detach:
            off()

    async def _take(self, service: Service, _topic: str, event: dict[str, Any]) -> bool:
        await service.deliver({"data": event})
        return True

    async def _reached(  # noqa: PLR0917 - as a sidecar calls it
        self, service: Service, method: str, body: bytes | None, query: Mapping[str, str], headers: Mapping[str, str],
        verb: str,
    ) -> Answer:  # fmt: skip
        self.asked.append(method)
        sent = {**headers, CALLER: "test"}
        heard = await ask(service.app, verb, f"/{method}", body=body or b"", query=query, headers=sent)
        return Answer(heard.status, heard.content, heard.headers)

    async def postman(self) -> None:
        """Deliver, for ever."""
        while True:
            await self.broker.deliver()
            await asyncio.sleep(0.05)

    def counted(self, name: str) -> int:
        """Look into the till's store."""
        document = self.value("till", keys.document("sum", name))
        return document["state"]["count"] if document else 0

    def value(self, name: str, key: str) -> Any:
        found = self.stores[name].read([key], 0.0)
        return found[key].value if key in found else None

    def marks(self) -> dict[str, Any]:
        """Return the till's inbox marks, by key."""
        return {key: self.value("till", key) for key in self.stores["till"].rows if key.startswith("inbox:")}

    def cursors(self) -> dict[str, Any]:
        """Return the till's cursors, by key."""
        return {key: self.value("till", key) for key in self.stores["till"].rows if key.startswith("cursor:")}


async def sell(shop: Service, *things: str, back: bool = False) -> None:
    """Sell one after another, each in a record of its own."""
    for thing in things:
        await shop.submit((GiveBack if back else Sell)(what=thing), Reply())


@asynccontextmanager
async def trading(
    town: Town, *handled: type[Event], history: bool = True, broken: bool = True
) -> AsyncIterator[tuple[Service, Service]]:
    """Run both, and the postman."""
    async with AsyncExitStack() as stack:
        shop = await stack.enter_async_context(town.open("shop", shop_rules()))
        rules = till_rules(*(handled or (Sold,)), history=history, broken=broken)
        till = await stack.enter_async_context(town.open("till", rules))
        postman = asyncio.create_task(town.postman())
        stack.callback(postman.cancel)
        yield shop, till


def virtually(story: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """Let a story run in virtual time."""

    def test() -> None:
        async def whole() -> None:
            await story()

        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(whole())

    test.__name__ = story.__name__
    return test
