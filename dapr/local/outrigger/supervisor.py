"""The process behind a run: starts the parts, then apps and sidecars, keeps them alive, and stops them in order.

It holds the instance lock for as long as it lives, and talks to whoever started it through `tell`. It also holds the
edge's listening socket, so that clients who come while the edge is started again wait, and are not refused.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import aiohttp

from outrigger.announce import announce, facts
from outrigger.changes import carry_out
from outrigger.commands import Command
from outrigger.control import Control
from outrigger.detour import detour
from outrigger.errors import LauncherError
from outrigger.farewells import tell_again
from outrigger.parts import Part, until_answering
from outrigger.plan import Plan, ServicePlan
from outrigger.ports import LOOPBACK, open_door
from outrigger.processes import Child
from outrigger.state import Phase, ProcessState, RunState, ServiceState
from outrigger.template import EDGE

PATIENCE = 120.0  # s until everything must be ready
_TOO_OFTEN = 3  # deaths before the first readiness that end the attempt
_DRAIN = 30.0
_CLOSE = 10.0

Tell = Callable[[str], None]


class Supervisor:
    """One run. Create it inside a running event loop."""

    def __init__(self, plan: Plan, tell: Tell) -> None:
        self.plan = plan
        self.phase = Phase.STARTING
        self._tell = tell
        self._parts = [(part, Child(part.command, self._changed)) for part in plan.parts]
        self._door = open_door(plan.edge.ports.app) if plan.edge else None
        self._services: dict[str, ServicePlan] = {}
        self._apps: dict[str, Child] = {}
        self._sidecars: dict[str, Child] = {}
        for service in plan.services:
            self._know(service)
        self._detours: set[asyncio.Task[None]] = set()
        self._launcher = ProcessState.of(os.getpid(), "launcher")
        self._announcing: dict[str, asyncio.Task[bool]] = {}
        self._farewells: dict[str, asyncio.Task[None]] = {}
        self._http: aiohttp.ClientSession | None = None
        self._control = Control(partial(carry_out, self))

    def _know(self, service: ServicePlan) -> None:
        self._services[service.name] = service
        self._apps[service.name] = Child(self._app(service), self._changed)
        self._sidecars[service.name] = Child(service.sidecar, self._changed)

    def _app(self, service: ServicePlan) -> Command:
        return service.app.behind(self._door.fileno()) if self._door and service.app_id == EDGE else service.app

    async def run(self, stop: asyncio.Event, ready: Callable[[], None]) -> None:
        """Bring everything up, call `ready`, and stay until `stop`; always leaves no process behind."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as self._http:
            try:
                await _unless(stop, self._bring_up())
                if not stop.is_set():
                    self.phase = Phase.READY
                    await self._control.open()
                    self._save()
                    ready()
                await stop.wait()
            finally:
                await self._take_down()

    async def _bring_up(self) -> None:
        self.plan.write_resources()
        for part, child in self._parts_that_are(awaited=True):
            await _begin(part, child)  # a sidecar that finds no broker gives up
        await self._serve(self.plan.services)
        await self.scale(
            {service.app_id: self.plan.replicas for service in self.plan.services if service.app_id != EDGE}
        )
        for _, child in self._parts_that_are(awaited=False):
            with contextlib.suppress(LauncherError):
                await _start(child)
        for words in self.plan.missing:
            self._tell(words)

    async def _serve(self, services: Sequence[ServicePlan]) -> None:
        for service in services:
            await _start(self._sidecars[service.name])
            await _start(self._apps[service.name])
        await self._until_ready(services)

    async def _let_go(self, service: ServicePlan) -> None:
        """Stop a replica in order, as in `_take_down`; it gives its lanes back, and others finish what is in them."""
        self._farewells.pop(service.name).cancel()
        self._sidecars[service.name].terminate()
        await self._apps[service.name].stop(_DRAIN)
        await self._sidecars[service.name].stop(_CLOSE)
        way = asyncio.create_task(detour(service.ports.internal, self._services[service.app_id].ports.internal))
        self._detours.add(way)
        way.add_done_callback(self._detours.discard)
        for known in (self._services, self._apps, self._sidecars):
            known.pop(service.name)
        self._save()

    def _parts_that_are(self, *, awaited: bool) -> list[tuple[Part, Child]]:
        return [pair for pair in self._parts if pair[0].awaited is awaited]

    # what `changes` may do to a run

    async def scale(self, wanted: Mapping[str, int]) -> None:
        """Start what is missing of these numbers of replicas, by service, or stop what is too much."""
        known = {app_id: [s for s in self._services.values() if s.app_id == app_id] for app_id in wanted}
        new = [(app_id, n) for app_id, count in wanted.items() for n in range(len(known[app_id]), count)]
        for app_id, number in new:  # one at a time: each takes its ports before the next one looks for free ones
            service = self.plan.another(app_id, number)
            self._know(service)
            await self._serve([service])
        for app_id, count in wanted.items():
            await asyncio.gather(*(self._let_go(service) for service in known[app_id][count:]))

    async def add(self, parts: Sequence[Part]) -> None:
        """Start parts beside the others, and wait until they answer; raises `LauncherError` if they do not."""
        for part in parts:
            part.command.folder.mkdir(parents=True, exist_ok=True)
            self._parts.append((part, Child(part.command, self._changed)))
            await _begin(*self._parts[-1])

    async def remove(self, parts: Iterable[Part], grace: float = _CLOSE) -> None:
        """Stop parts for good; without `grace` they are killed."""
        gone = [pair for pair in self._parts if any(pair[0] is part for part in parts)]
        await asyncio.gather(*(child.stop(grace) for _, child in gone))
        self._parts = [pair for pair in self._parts if pair not in gone]
        self._save()

    def parts(self) -> list[Part]:
        """Return the parts that run now."""
        return [part for part, _ in self._parts]

    def freeze(self, parts: Iterable[Part], *, frozen: bool) -> None:
        """Stop parts where they stand, or let them go on."""
        for part, child in self._parts:
            if part in parts:
                child.freeze(frozen=frozen)

    def renew(self, name: str) -> None:
        """Kill a sidecar, such as `orders.daprd`; it is started again."""
        next(child for child in self._sidecars.values() if child.command.name == name).kill()

    def replan(self, plan: Plan) -> None:
        """Go on by another plan of the same services."""
        self.plan = plan
        self._save()

    async def _until_ready(self, services: Sequence[ServicePlan]) -> None:
        """Wait for every app; a service that keeps dying or takes too long ends the attempt with its reason."""
        deadline = time.monotonic() + PATIENCE
        waiting = {service.name: service for service in services}
        while waiting:
            for name, service in list(waiting.items()):
                if await self._is_ready(service):
                    del waiting[name]
                    self._tell(f"{name} is ready")
                self._give_up_on_dying(name)
            if time.monotonic() > deadline:
                raise LauncherError(self._not_ready(sorted(waiting)))
            await asyncio.sleep(0.1)

    async def _is_ready(self, service: ServicePlan) -> bool:
        assert self._http is not None  # noqa: S101 - set by run
        try:
            async with self._http.get(f"http://{LOOPBACK}:{service.ports.app}/ready") as answer:
                return answer.ok
        except (aiohttp.ClientError, TimeoutError):
            return False

    def _give_up_on_dying(self, name: str) -> None:
        for child in (self._apps[name], self._sidecars[name]):
            if child.restarts >= _TOO_OFTEN:
                raise LauncherError(f"{child.command.name} dies as it starts; the end of its log:\n{_tail(child)}")

    def _not_ready(self, names: list[str]) -> str:
        child = self._apps[names[0]]
        told = f"Not ready after {PATIENCE:.0f} s: {', '.join(names)}. The end of {child.command.log}:"
        return f"{told}\n{_tail(child)}"

    async def _take_down(self) -> None:
        """Stop in order: the edge, so that what it took is still answered; subscriptions, apps, sidecars, broker.

        A sidecar's first SIGTERM ends its subscriptions and no more, its second ends it (see `commands`).
        """
        self.phase = Phase.STOPPING
        await self._control.close()
        self._save()
        for task in (*self._announcing.values(), *self._farewells.values(), *self._detours):
            task.cancel()
        if self._door:
            self._door.close()
        if edge := self._apps.get(EDGE):
            await edge.stop(_DRAIN)
        for sidecar in self._sidecars.values():
            sidecar.terminate()
        await asyncio.gather(*(app.stop(_DRAIN) for app in self._apps.values()))
        await asyncio.gather(*(sidecar.stop(_CLOSE) for sidecar in self._sidecars.values()))
        await asyncio.gather(*(part.stop(_CLOSE) for _, part in self._parts))
        self.plan.home.run_file.unlink(missing_ok=True)

    def _changed(self, child: Child) -> None:
        """Write the new state, tell of a death, tell the sidecar about its (new) app, and see to a sidecar's end."""
        self._save()
        if self.phase is Phase.STOPPING:
            return
        if child.pid is None:
            if not child.ending:
                self._tell(f"{child.command.name} ended with {child.last_exit}; it is started again")
            return
        for service in self._services.values():
            if child in (self._apps[service.name], self._sidecars[service.name]):
                self._announce(service)
            if child is self._sidecars[service.name]:
                self._see_to_the_end_of(service.name)

    def _see_to_the_end_of(self, name: str) -> None:
        if earlier := self._farewells.pop(name, None):
            earlier.cancel()
        self._farewells[name] = asyncio.create_task(tell_again(self._sidecars[name]))

    def _announce(self, service: ServicePlan) -> None:
        if earlier := self._announcing.pop(service.name, None):
            earlier.cancel()
        if self._http and self._sidecars[service.name].pid:
            told = facts(self.plan, service, os.getpid(), self._apps[service.name].pid)
            task = asyncio.create_task(announce(self._http, service.ports.http, told))
            self._announcing[service.name] = task

    def _save(self) -> None:
        with contextlib.suppress(FileNotFoundError):  # `make clean` under a live run takes the folder away
            self.state().save(self.plan.home.run_file)

    def state(self) -> RunState:
        """Describe the run as it is now."""
        return RunState(
            name=self.plan.template.name,
            folder=str(self.plan.home.root),
            phase=self.phase,
            launcher=self._launcher,
            gateway=self.plan.gateway_url,
            broker=self.plan.chosen("broker"),
            store=self.plan.chosen("store"),
            control=self._control.port,
            parts={child.command.name: child.state() for _, child in self._parts},
            urls={part.command.name: part.url for part, _ in self._parts if part.url},
            services={name: self._service_state(service) for name, service in self._services.items()},
        )

    def _service_state(self, service: ServicePlan) -> ServiceState:
        return ServiceState(
            app_id=service.app_id,
            app_port=service.ports.app,
            dapr_http_port=service.ports.http,
            dapr_grpc_port=service.ports.grpc,
            app=self._apps[service.name].state(),
            sidecar=self._sidecars[service.name].state(),
        )


async def _begin(part: Part, child: Child) -> None:
    """Start a part and wait until it answers."""
    await asyncio.to_thread(part.prepare)
    await _start(child)
    await until_answering(part)


async def _start(child: Child) -> None:
    try:
        await child.start()
    except OSError as error:
        command = child.command
        raise LauncherError(f"{command.name}: {command.executable} cannot be started ({error.strerror}).") from error


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Do the work, but leave it as soon as `stop` is set."""
    doing, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    await asyncio.wait([doing, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not doing.done():
        doing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await doing


def _tail(child: Child, lines: int = 12) -> str:
    try:
        return "\n".join(child.command.log.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return "(no log)"
