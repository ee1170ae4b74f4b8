"""The whole system in one process: gateway, services with their engines, bank; all that they need in memory."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from email.message import EmailMessage
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import FastAPI

import gateway.api
import inventory.api
import inventory.catalogue
import inventory.main
import notifications.main
import orders.api
import orders.main
import payments.main
import users.api
import users.main
import users.people
from bank import api as bank_api
from bank.book import Book
from chassis.process import Settings
from chassis.rules import Rules
from chassis.service import Service
from chassis.sidecar import Answer
from chassis_testing.folder import Folder
from chassis_testing.memory import App, MemoryBroker, MemorySidecar, MemoryStore
from support.http import Heard, ask
from support.mail import read

RULES: dict[str, Rules | None] = {
    "gateway": None,
    "orders": orders.main.rules,
    "inventory": inventory.main.rules,
    "payments": payments.main.rules,
    "users": users.main.rules,
    "notifications": notifications.main.rules,
}
APIS = {"gateway": gateway.api.Api, "orders": orders.api.Api, "inventory": inventory.api.Api, "users": users.api.Api}
STARTERS = {"inventory": inventory.catalogue.offer_catalogue, "users": users.people.register_people}
BANK_KEY = "in-memory"


class System:
    """The services that call each other, the bank and the mail, and a clock that can be moved on."""

    def __init__(self, stores: Mapping[str, MemoryStore]) -> None:
        self.broker = MemoryBroker()
        self.stores = {name: MemoryStore() for name in RULES} | dict(stores)
        self.bank, self.mail = Book(Path(":memory:")), Folder()
        self.apps: dict[str, App] = {"bank": _bank(self.bank)}
        self.services = {name: self._service(name) for name in RULES}
        self._ahead = 0.0

    async def ask(self, verb: str, path: str, **more: Any) -> Heard:
        """Ask the gateway, as a client does."""
        return await ask(self.services["gateway"].app, verb, path, **more)

    async def place(self, key: str | None = None, user: str = "user-1", **quantities: int) -> Heard:
        """Place an order; an underscore stands for the hyphen of a sku."""
        items = [{"sku": sku.replace("_", "-"), "quantity": n} for sku, n in quantities.items()]
        headers = {"Idempotency-Key": key} if key else {}
        return await self.ask("POST", "/api/v1/orders", body={"userId": user, "items": items}, headers=headers)

    async def order(self, order_id: str) -> dict[str, Any]:
        """Show an order."""
        return (await self.ask("GET", f"/api/v1/orders/{order_id}")).json

    async def invoke(self, app: str, method: str, body: dict[str, Any]) -> Heard:
        """Call a service directly, as `dapr invoke` does."""
        return await ask(self.services[app].app, "POST", f"/{method}", body=body)

    def stock(self, sku: str) -> dict[str, int]:
        """Look into inventory's store."""
        key = f"doc:stock:{sku}"
        state = self.stores["inventory"].read([key], 0.0)[key].value["state"]
        return {term: state[term] for term in ("initial", "available", "reserved", "committed")}

    def mails(self, order_id: str) -> dict[str, EmailMessage]:
        """Read what was written about an order, by kind."""
        files = {name: read(text) for name, text in self.mail.files.items() if name.endswith(f"-{order_id}.eml")}
        return {name.partition("-")[0]: mail for name, mail in files.items()}

    def move_clock(self, seconds: float) -> None:
        """Let time pass for deadlines."""
        self._ahead += seconds

    async def until(self, condition: Callable[[], Any], within: float = 10.0) -> Any:
        """Deliver what is published until `condition` holds, and return what it gave."""
        async with asyncio.timeout(within):
            while True:
                await self.broker.deliver()
                found = condition()
                if value := (await found if asyncio.iscoroutine(found) else found):
                    return value
                await asyncio.sleep(0.005)

    async def ended(self, order_id: str) -> dict[str, Any]:
        """Wait until an order is confirmed or cancelled, and show it."""

        async def end() -> dict[str, Any] | None:
            shown = await self.order(order_id)
            return shown if shown["status"] in {"confirmed", "cancelled"} else None

        return await self.until(end)

    def _service(self, name: str) -> Service:
        sidecar = MemorySidecar(self.stores[name], self.broker, apps=self.apps, bindings={"mail": self.mail})
        service = Service(name, RULES[name], settings=Settings(instance="a", drain_within=1.0), sidecar=sidecar)
        if name in APIS:
            service.routes(APIS[name](service).router)
        if name in STARTERS:
            service.start_with(STARTERS[name])
        if service.engine:
            service.engine.clock = lambda: time.time() + self._ahead
        self.apps[name] = _called(service)
        self._subscribe(service)
        return service

    def _subscribe(self, service: Service) -> None:
        async def take(_topic: str, event: dict[str, Any]) -> bool:
            await service.deliver({"data": event})
            return True

        for subscription in service.subscriptions():
            self.broker.attach(subscription["topic"], take, group=service.name)


def _called(service: Service) -> App:
    """Answer service invocation as daprd would forward it."""
    return _reached(service.app, {"dapr-caller-app-id": "test"})


def _bank(book: Book) -> App:
    """Answer as the HTTPEndpoint `bank` does, which adds the key."""
    return _reached(bank_api.create(book, BANK_KEY), {"x-api-key": BANK_KEY})


def _reached(asgi: FastAPI, added: Mapping[str, str]) -> App:
    async def app(
        method: str, body: bytes | None, query: Mapping[str, str], headers: Mapping[str, str], verb: str
    ) -> Answer:
        heard = await ask(asgi, verb, f"/{method}", body=body or b"", query=query, headers={**headers, **added})
        return Answer(heard.status, heard.content, heard.headers)

    return app


@asynccontextmanager
async def running(**stores: MemoryStore) -> AsyncIterator[System]:
    """Start everything, on new stores but for these; yields when products are on offer and people are registered."""
    system = System(stores)
    async with AsyncExitStack() as stack:
        stack.callback(system.bank.close)
        for service in system.services.values():
            await stack.enter_async_context(service.app.router.lifespan_context(service.app))
        await system.until(lambda: _begun(system))
        yield system


async def _begun(system: System) -> bool:
    shown = (await system.ask("GET", "/api/v1/products")).json
    last = await system.ask("GET", f"/api/v1/users/{users.people.people()[-1].user_id}")
    return len(shown.get("products", ())) == len(inventory.catalogue.catalogue()) and last.status == HTTPStatus.OK
