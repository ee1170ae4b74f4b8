"""`outrigger swap`: another broker for a running system, which takes orders all the while. The supervisor's side.

The new broker is started beside the old one, and the pub/sub component is replaced in the folder that sidecars watch.
Each closes the old component and opens the new one; what it publishes in between fails, and is published again. What
still lay in the old broker is fetched by its consumers from the producers' journals. When all of that is settled, the
old broker is stopped; its data stays.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import aiohttp
from pydantic import BaseModel

from chassis.sidecar import GRAVEYARD
from outrigger.choice import Broker, Choice
from outrigger.control import Tell
from outrigger.errors import LauncherError
from outrigger.figures import DELIVERIES, OPEN, REPAIRED, RETRIES, figures
from outrigger.ledgers import close, stores_of
from outrigger.parts import Part
from outrigger.plan import services_of
from outrigger.ports import free_ports
from outrigger.quiet import has_settled, told
from outrigger.resources import replace_rendered, resource_kinds
from outrigger.servers import BUNDLED, parts_for
from outrigger.sidecars import deliveries, publish_probe, runs_on, topics_of
from outrigger.state import ServiceState
from outrigger.template import EDGE

if TYPE_CHECKING:
    from outrigger.supervisor import Supervisor

_PORTS = 3  # that a broker needs at most
_STILL = 0.4  # s in which nothing is delivered
_STILL_WITHIN = 5.0  # s
_CLOSED_WITHIN = 3.0  # s; a sidecar that watches a folder takes 0.2 s to see it
_TAKEN_WITHIN = 60.0  # s; five when nothing else happens
_HEARD_WITHIN = 60.0  # s; a new consumer group of Kafka takes some
_QUIET_WITHIN = 300.0  # s
_RENEWED_WITHIN = 60.0  # s for a sidecar that is started again
_ANSWER_WITHIN = 5.0  # s for each question
_POLL = 0.1

T = TypeVar("T")
Condition = Callable[[aiohttp.ClientSession, ServiceState], Awaitable[bool]]


class Swapped(BaseModel):
    """What a swap did; times in seconds since it began to replace the component."""

    before: str
    after: str
    taken: float
    restarted: list[str]
    retried: int
    repaired: int
    quiet: float | None

    def told(self) -> str:
        """Put it into words."""
        quiet = f"after {self.quiet:.1f} s" if self.quiet is not None else f"not within {_QUIET_WITHIN:.0f} s"
        lines = [
            f"{self.before} is replaced by {self.after}",
            f"taken     by every sidecar after {self.taken:.1f} s",
            f"retried   {self.retried} publishes",
            f"repaired  {self.repaired} events, fetched from the journals",
            f"quiet     {quiet}",
        ]
        if self.restarted:
            lines.insert(2, f"restarted {', '.join(self.restarted)}, which did not take it")
        return "\n".join([*lines, f"{self.before} is stopped; its data stays"])


class Swap:
    """One swap of a run."""

    def __init__(self, run: "Supervisor", broker: Broker, tell: Tell) -> None:
        """Change nothing yet. Raises `LauncherError` for what cannot be."""
        self._run, self._tell = run, tell
        self._before, self._after = run.plan.chosen("broker"), str(broker)
        if not run.plan.services:
            raise LauncherError("This run has parts only: the sidecars that `dapr run` started are not known here.")
        if self._before == self._after:
            raise LauncherError(f"{broker} is the broker already.")
        folders = run.plan.resources
        self._plan = replace(run.plan, resources=Choice(broker=broker).applied(folders))
        (self._folder,) = (folder for folder in self._plan.resources if folder.parent.name == "broker")
        (self._kind,) = resource_kinds([self._folder])
        gone = resource_kinds([folder for folder in folders if folder.parent.name == "broker"])
        self._old = [part for part in run.parts() if part.kind in gone]

    async def done(self) -> Swapped:
        """Carry it out. Raises `LauncherError`; before the component is replaced, all is then as it was."""
        await self._run.remove([part for part in self._run.parts() if part.kind == self._kind])  # of a swap that failed
        home, services = self._run.plan.home, services_of(self._run.plan.template)
        new = parts_for({self._kind}, home, free_ports(_PORTS).pop, services)
        self._tell(f"{self._after} is started")
        try:
            await self._run.add(new)
        except LauncherError:
            await self._run.remove(new)
            raise
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_ANSWER_WITHIN)) as http:
            swapped = await self._replaced(http, new)
        await self._run.remove(self._old)
        return swapped

    async def _replaced(self, http: aiohttp.ClientSession, new: list[Part]) -> Swapped:
        before, began = await figures(http, self._services()), time.monotonic()
        await self._replace(http, new)
        restarted = await self._each(http, _TAKEN_WITHIN, self._has_taken, "does not take it")
        taken = time.monotonic() - began
        self._tell(f"every sidecar is on {self._after}; what was in {self._before} is awaited, or fetched")
        stores = stores_of(self._run.state())
        try:
            journals = await told(stores)
            heard = await self._probed(http)
            restarted += await self._each(http, _HEARD_WITHIN, heard, "is deaf on it")
            late = await _late(stores, _QUIET_WITHIN, lambda store: has_settled(store, journals))
        finally:
            await close(stores)
        quiet = None if late else time.monotonic() - began
        grown = await figures(http, self._services()) - before
        retried, repaired = (sum(n for (name, _), n in grown.items() if name == what) for what in (RETRIES, REPAIRED))
        return Swapped(
            before=self._before, after=self._after, taken=taken, restarted=restarted, retried=retried,
            repaired=repaired, quiet=quiet,
        )  # fmt: skip

    def _services(self) -> list[ServiceState]:
        """Return those who may use the broker: all but the edge."""
        return [service for service in self._run.state().services.values() if service.app_id != EDGE]

    async def _replace(self, http: aiohttp.ClientSession, new: list[Part]) -> None:
        """Replace the component, where necessary when no message is under way between broker and app.

        daprd bundles the messages of brokers that cannot do so themselves. When a subscription ends, it forgets what
        lies in a bundle; the component, which waits for an answer to each message, is never closed (1.14).
        """
        if not any(part.kind in BUNDLED for part in self._old):
            self._write(new)
            return
        self._run.freeze(self._old, frozen=True)
        try:
            await self._until_still(http)
            self._write(new)
            await _late(self._services(), _CLOSED_WITHIN, partial(self._has_taken, http))
        finally:
            self._run.freeze(self._old, frozen=False)

    async def _until_still(self, http: aiohttp.ClientSession) -> None:
        """Wait until nothing comes and everything that came is handled."""
        deadline, came, since = time.monotonic() + _STILL_WITHIN, -1, time.monotonic()
        while time.monotonic() < min(deadline, since + _STILL):
            now = await figures(http, self._services())
            before, came = came, sum(count for (name, _), count in now.items() if name == DELIVERIES)
            if came != before or now[OPEN, ""]:
                since = time.monotonic()
            await asyncio.sleep(_POLL)

    def _write(self, new: Iterable[Part]) -> None:
        addresses = {key: value for part in new for key, value in part.addresses.items()}
        replace_rendered(self._folder, self._plan.home.resources, addresses)
        self._run.replan(self._plan)

    async def _has_taken(self, http: aiohttp.ClientSession, service: ServiceState) -> bool:
        return await runs_on(http, service, self._kind)

    async def _probed(self, http: aiohttp.ClientSession) -> Condition:
        """Publish something harmless to every topic; returns what tells whether a service has got all of it."""
        topics = {service.app_id: await topics_of(http, service) for service in self._services()}
        before = {app_id: await self._brought(http, app_id) for app_id in topics}
        owners = {service.app_id: service for service in self._services()}

        async def publish(topic: str) -> bool:
            """A topic is published to by its owner alone, and by who buries there."""
            return await publish_probe(http, owners[topic.removesuffix(GRAVEYARD)], topic)

        if left := await _late(sorted(set().union(*topics.values())), _HEARD_WITHIN, publish):
            raise LauncherError(f"Nothing can be published to {left[0]} on {self._after}: see `outrigger logs`.")

        async def heard(http: aiohttp.ClientSession, service: ServiceState) -> bool:
            now, then = await self._brought(http, service.app_id), before[service.app_id]
            return all(now[topic] > then[topic] for topic in topics[service.app_id])

        return heard

    async def _brought(self, http: aiohttp.ClientSession, app_id: str) -> Counter[str]:
        """Count what the broker has brought to a service, by topic: each event goes to one of its replicas."""
        replicas = [service for service in self._services() if service.app_id == app_id]
        return sum([await deliveries(http, service) for service in replicas], Counter())

    async def _each(self, http: aiohttp.ClientSession, within: float, holds: Condition, not_so: str) -> list[str]:
        """Wait until something holds of every sidecar. Those of which it does not are killed, and start anew on it."""
        late = await _late(self._services(), within, partial(holds, http))
        for service in late:
            self._tell(f"{service.sidecar.name} {not_so}: it is killed, and started again")
            self._run.renew(service.sidecar.name)
        if still := await _late(late, _RENEWED_WITHIN, partial(holds, http)):
            name = still[0].sidecar.name
            raise LauncherError(
                f"{name} is not on {self._after} even after a new start: see `outrigger logs {name}`. "
                f"{self._before} runs on; `outrigger swap --broker {self._before}` goes back."
            )
        return [service.sidecar.name for service in late]


async def _late(these: Sequence[T], within: float, holds: Callable[[T], Awaitable[bool]]) -> list[T]:
    """Wait until something holds of each; returns those of which it does not in time."""
    deadline = time.monotonic() + within
    left = list(these)
    while left := [each for each in left if not await holds(each)]:
        if time.monotonic() > deadline:
            break
        await asyncio.sleep(_POLL)
    return left
