"""Gateway, orders and inventory with their engines in one process, all that they need in memory.

Users and payments are stand-ins that never refuse.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import gateway.api
import inventory.api
import inventory.catalogue
import inventory.main
import orders.api
import orders.main
from chassis.process import Settings
from chassis.rules import Rules
from chassis.service import Service
from chassis.sidecar import Answer
from chassis_testing.memory import App, MemoryBroker, MemorySidecar, MemoryStore
from support import neighbours
from support.http import Heard, ask

RULES: dict[str, Rules | None] = {"gateway": None, "orders": orders.main.rules, "inventory": inventory.main.rules}
APIS = {"gateway": gateway.api.Api, "orders": orders.api.Api, "inventory": inventory.api.Api}


class System:
    """Three services that call each other, and a clock that can be moved on."""

    def __init__(self) -> None:
        self.broker = MemoryBroker()
        self.stores = {name: MemoryStore() for name in RULES}
        self.apps: dict[str, App] = {"users": neighbours.users}
        neighbours.payments(self.broker)
        self.services = {name: self._service(name) for name in RULES}
        self._ahead = 0.0

    async def ask(self, verb: str, path: str, **more: Any) -> Heard:
        """Ask the gateway, as a client does."""
        return await ask(self.services["gateway"].app, verb, path, **more)

    async def place(self, key: str | None = None, **quantities: int) -> Heard:
        """Place an order; an underscore stands for the hyphen of a sku."""
        items = [{"sku": sku.replace("_", "-"), "quantity": n} for sku, n in quantities.items()]
        headers = {"Idempotency-Key": key} if key else {}
        return await self.ask("POST", "/api/v1/orders", body={"userId": "u-1", "items": items}, headers=headers)

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
        sidecar = MemorySidecar(self.stores[name], self.broker, apps=self.apps)
        service = Service(name, RULES[name], settings=Settings(instance="a", drain_within=1.0), sidecar=sidecar)
        service.routes(APIS[name](service).router)
        if name == "inventory":
            service.start_with(inventory.catalogue.offer_catalogue)
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

    async def app(
        method: str, body: bytes | None, query: Mapping[str, str], headers: Mapping[str, str], verb: str
    ) -> Answer:
        sent = {**headers, "dapr-caller-app-id": "test"}
        heard = await ask(service.app, verb, f"/{method}", body=body or b"", query=query, headers=sent)
        return Answer(heard.status, heard.content, heard.headers)

    return app


@asynccontextmanager
async def running() -> AsyncIterator[System]:
    """Start everything; yields when the catalogue is on offer and known to orders."""
    system = System()
    async with AsyncExitStack() as stack:
        for service in system.services.values():
            await stack.enter_async_context(service.app.router.lifespan_context(service.app))
        await system.until(lambda: _listed(system))
        yield system


async def _listed(system: System) -> bool:
    shown = (await system.ask("GET", "/api/v1/products")).json
    return len(shown.get("products", ())) == len(inventory.catalogue.catalogue())
