"""What the status page shows as it happens: the latest orders accepted here, how each service stands, circuits.

One poller for all who look, and none while nobody looks. A listener gets the newest state of each kind, not its
history: a slow one misses steps in between and holds nothing back.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
from sse_starlette import ServerSentEvent

from chassis.operations.circuits import Circuit, State
from chassis.problems import Problem, Unprocessed
from chassis.service import Service
from chassis.sidecar import SidecarError

KEPT = 50  # orders
LISTENERS = 32
ORDERS_EVERY = 1.0
SERVICES_EVERY = 2.0
NOTED_EVERY = 0.2  # new orders are shown this fast
PATIENCE = 1.5  # seconds for an answer
ENDED = {"confirmed", "cancelled"}
QUESTION = "status"
log = logging.getLogger(__name__)


class Live:
    """The latest news, and who waits for them."""

    def __init__(self, service: Service, apps: Sequence[str]) -> None:
        """`apps` are the services to ask how they stand."""
        self._service, self._apps = service, apps
        self._orders: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._silent: set[str] = set()
        self._news: dict[str, bytes] = {}
        self._listeners: set[asyncio.Event] = set()
        self._noted = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None

    def note(self, order_id: str, user_id: str) -> None:
        """Remember an order that was just accepted, in place of the oldest."""
        if order_id in self._orders:  # its request was repeated
            return
        at = datetime.now(UTC).isoformat()
        self._orders[order_id] = {"orderId": order_id, "userId": user_id, "status": "pending", "placedAt": at}
        if len(self._orders) > KEPT:
            self._orders.popitem(last=False)
        self._noted.set()

    def follow(self) -> AsyncGenerator[ServerSentEvent, None]:
        """Return all that is new from now on, for one more listener; raises `Unprocessed` when there are enough."""
        if len(self._listeners) >= LISTENERS:
            raise Unprocessed(f"{LISTENERS} pages look already; close one, or try again later")
        return self._follow(asyncio.Event())

    async def _follow(self, woken: asyncio.Event) -> AsyncGenerator[ServerSentEvent, None]:
        seen: dict[str, bytes] = {}
        self._listeners.add(woken)
        if self._looking is None:
            self._begin()
        try:
            while True:
                woken.clear()
                fresh = {name: text for name, text in self._news.items() if seen.get(name) is not text}
                seen |= fresh
                for name, text in fresh.items():
                    yield ServerSentEvent(event=name, data=text.decode())
                await woken.wait()
        finally:
            self._listeners.discard(woken)
            if not self._listeners and self._looking:
                self._looking.cancel()
                self._looking = None

    def _tell(self, name: str, value: Any) -> None:
        text = orjson.dumps(value)
        if self._news.get(name) != text:
            self._news[name] = text
            for woken in self._listeners:
                woken.set()

    # looking

    def _begin(self) -> None:
        self._news.clear()
        self._noted.set()
        self._looking = asyncio.create_task(self._look())

    async def _look(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._tell_noted())
            tasks.create_task(_every(ORDERS_EVERY, self._look_at_orders))
            tasks.create_task(_every(SERVICES_EVERY, self._look_at_services))

    async def _tell_noted(self) -> None:
        while True:
            await self._noted.wait()
            self._noted.clear()
            self._tell("orders", list(self._orders.values()))
            await asyncio.sleep(NOTED_EVERY)

    async def _look_at_orders(self) -> None:
        """See how those that have not ended stand, all of them with one question."""
        unended = [name for name, order in self._orders.items() if order["status"] not in ENDED]
        if not unended:
            return
        answer = await self._ask("orders", "order-briefs", {"orderIds": unended})
        for brief in answer["orders"] if answer else ():
            if brief["orderId"] in self._orders:
                self._orders[brief["orderId"]] = brief
        self._noted.set()

    async def _look_at_services(self) -> None:
        told = await asyncio.gather(self._own_status(), *map(self._status, self._apps))
        self._tell("services", [_service(each) for each in told])
        self._tell("circuits", [circuit for each in told for circuit in _circuits(each)])

    async def _own_status(self) -> dict[str, Any]:
        known = await self._service.readiness()
        circuits = [c.described() for c in self._service.sidecar.circuits if not _own(c)]
        return {"service": self._service.name, **known, "circuits": circuits}

    async def _status(self, app: str) -> dict[str, Any]:
        """Ask one; who was silent is asked every other time, so that the question itself opens no circuit."""
        if app in self._silent:
            self._silent.discard(app)
            return {"service": app, "ready": False, "reason": "does not answer"}
        answer = await self._ask(app, QUESTION)
        if answer is None:
            self._silent.add(app)
        return answer or {"service": app, "ready": False, "reason": "does not answer"}

    async def _ask(self, app: str, method: str, body: dict[str, Any] | None = None) -> Any:
        """Return an answer, or None where there is none in time."""
        try:
            async with asyncio.timeout(PATIENCE):
                return (await self._service.call(app, method, body=body, verb="POST" if body else "GET")).body
        except (Problem, SidecarError, TimeoutError):
            return None


async def _every(seconds: float, look: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await look()
        except Exception:
            log.exception("the page's news could not be gathered")
        await asyncio.sleep(seconds)


def _own(circuit: Circuit) -> bool:
    """Tell whether a circuit is only about our own questions."""
    return circuit.method == QUESTION


def _service(told: dict[str, Any]) -> dict[str, Any]:
    kept = ("service", "ready", "reason", "backlog", "queued")
    return {name: told.get(name) for name in kept} | {"degraded": told.get("degraded") or told.get("reasons") or []}


def _circuits(told: dict[str, Any]) -> list[dict[str, Any]]:
    """Say who calls whom; for how long is told of what is not closed, so that nothing is new while nothing happens."""
    found = []
    for circuit in told.get("circuits", ()):
        closed = circuit["state"] == State.CLOSED
        found.append({**circuit, "from": told["service"], "seconds": None if closed else circuit["seconds"]})
    return found
