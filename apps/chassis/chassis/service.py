"""A service as the world meets it: FastAPI routes, the events that daprd delivers, health, and how it is started."""

import asyncio
import contextlib
import logging
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson
import uvicorn
from fastapi import APIRouter, FastAPI
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from chassis import keys, process
from chassis.daprd import Daprd
from chassis.draft import Cause, new_id, states
from chassis.engine import Engine, StoreUnfit
from chassis.envelope import Command, Envelope
from chassis.http.bodies import RENDERED, parsed
from chassis.http.edge import EVENTS, Edge, Guarded, Method
from chassis.http.server import Server
from chassis.operations import tracing
from chassis.operations.operators import Operators
from chassis.problems import Forbidden, Invalid, NotFound, Problem, TooLarge
from chassis.reconciliation.cursor import origin
from chassis.reconciliation.journals import Journals
from chassis.reconciliation.walker import Walker
from chassis.rules import Context, Ref, Rules, S, View
from chassis.sidecar import CALLER, GRAVEYARD, Sidecar, SidecarError, call
from chassis.work import Letter, Message, Redrive, Reply, Work

KEY_LENGTH = 200
KEPT_BYTES = 64 * 1024  # of a message that cannot be read
BULK = {"enabled": True, "maxMessagesCount": 100}
B = TypeVar("B", bound=BaseModel)
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """A command's id within its caller, method and path, and the hash of its body."""

    id: str
    body_hash: str
    size: int = 0


class Service:
    """One deployable. Without `rules` it has no store, no engine and no subscriptions (the gateway)."""

    def __init__(
        self, name: str, rules: Rules | None = None, *, settings: process.Settings | None = None,
        sidecar: Sidecar | None = None,
    ) -> None:  # fmt: skip
        """`sidecar` replaces daprd in tests."""
        self.name, self.rules, self.graveyard = name, rules or Rules(), name + GRAVEYARD
        self.settings = settings or process.Settings()
        self.sidecar: Sidecar = sidecar or Daprd(
            self.settings.sidecar_url, store=self.settings.store, pubsub=self.settings.pubsub,
            api_token=self.settings.dapr_api_token,
        )  # fmt: skip
        self.engine = Engine(name, self.rules, self.sidecar, self.settings) if rules else None
        self.walker = Walker(self, self.engine) if self.engine else None
        self.deliveries: Counter[str] = Counter()  # by topic
        self.delivering = 0
        self._starters: list[Callable[[Service], Awaitable[None]]] = []
        self._methods: dict[str, Method] = {}
        self.app = self._build()
        if self.engine:
            Journals(self)

    # for api modules

    def routes(self, router: APIRouter) -> None:
        """Add a service's own routes."""
        self.app.include_router(router)

    def accept(self, path: str, model: type[B], act: Callable[[B, Request], Awaitable[Reply]]) -> None:
        """Add a method that takes a JSON body, for other services and for daprd.

        It is looked up at the edge: FastAPI's own way in costs more than most methods do.
        """

        async def answer(request: Request) -> Response:
            return (await act(await parsed(model, request), request)).response()

        self._methods[path] = answer

    def start_with(self, starter: Callable[["Service"], Awaitable[None]]) -> None:
        """Run `starter` once when commands can be taken."""
        self._starters.append(starter)

    def key(self, request: Request, *, caller: str, body: bytes) -> IdempotencyKey | None:
        """Read the Idempotency-Key; its scope is caller, method and path. Raises `Invalid`."""
        key = request.headers.get("idempotency-key")
        if key is None:
            return None
        if not (0 < len(key) <= KEY_LENGTH and key.isascii() and key.isprintable()):
            raise Invalid(
                f"the Idempotency-Key must be 1 to {KEY_LENGTH} printable ASCII characters", field="Idempotency-Key"
            )
        scope = keys.fingerprint(caller, request.method, request.scope["path"], key)
        return IdempotencyKey(f"command/{scope}", keys.fingerprint(body), len(body))

    async def submit(self, command: Command, reply: Reply, *, key: IdempotencyKey | None = None) -> Reply:
        """Run a command; returns `reply`, or the first one where the key was used before. Raises `Problem`."""
        if self.engine is None:
            raise TypeError(f"service {self.name!r} has no rules, so it takes no commands")
        seed, now = new_id(), self.engine.clock()
        name = key.id if key else f"command/{seed.hex}"
        handler = self.rules.commands[type(command).__name__]
        work = Message(
            name, handler, command, Context(now, name, ""), Cause(seed.int, now, name, "", tracing.traceparent()),
            reply=reply, body_hash=key.body_hash if key else "",
        )  # fmt: skip
        return await self.engine.submit(work, key.size if key else 1024)

    async def submit_missing(self, wanted: Mapping[Ref[S], Command]) -> None:
        """Run those commands whose documents are not there: for what a new store begins with, at every start."""
        known = await self.read_many(list(wanted))
        missing = [command for ref, command in wanted.items() if ref not in known]
        await asyncio.gather(*(self.submit(command, Reply()) for command in missing))

    async def read(self, ref: Ref[S]) -> S | None:
        """Read one document's state."""
        return (await self.read_many([ref])).get(ref)

    async def read_many(self, refs: Sequence[Ref[S]]) -> dict[Ref[S], S]:
        """Read documents; absent ones are left out."""
        return await states(self.sidecar, self.rules, refs)

    async def page(self, view: View[S], group: str, number: int) -> list[S]:
        """Read up to 100 rows of a view."""
        return await self._engine().views.page(view, group, number)

    async def newest(self, view: View[S], group: str, *, before: int | None, count: int) -> tuple[list[S], int | None]:
        """Read up to 100 rows of a view, newest first, and where to go on (None at the end)."""
        return await self._engine().views.newest(view, group, before, count)

    async def call(
        self, app: str, method: str, *, body: Mapping[str, Any] | None = None, query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None, verb: str = "POST",
    ) -> Reply:  # fmt: skip
        """Call another service through the sidecar; raises the `Problem` it refused with, or `SidecarError`."""
        answer, value = await call(self.sidecar, app, method, body=body, query=query, headers=headers, verb=verb)
        return Reply(answer.status, value, answer.headers)

    async def redrive(self, letter: str) -> None:
        """Handle a dead letter after all, named as in the log; raises what stands in the way."""
        stored = (await self.sidecar.read([letter])).get(letter)
        if stored is None or stored.value.get("kind") != "event":
            raise NotFound(f"there is no dead-lettered event under {letter!r}")
        work = Redrive(letter, self.message(stored.value["message"]))
        await self._engine().submit(work, keys.EVENT_BYTES)

    def run(self) -> None:
        """Serve on the port that Dapr's CLI, the launcher or the cluster gave."""
        process.configure_logging(self.settings.log_level)
        process.calm_collector()
        config = uvicorn.Config(
            self.app, host=self.settings.app_host, port=self.settings.app_port, fd=self.settings.app_fd,
            loop="uvloop", http="httptools", log_config=None, access_log=False, proxy_headers=False,
            timeout_graceful_shutdown=int(self.settings.drain_within),
        )  # fmt: skip
        with contextlib.suppress(KeyboardInterrupt):  # which uvicorn raises when Ctrl-C has ended it in good order
            Server(config).run()

    # from daprd

    def subscriptions(self) -> list[dict[str, Any]]:
        """Tell daprd what to deliver: every topic with a handled type, and this service's dead-letter topic."""
        topics = sorted({h.message.topic for h in self.rules.events.values() if not issubclass(h.message, Command)})
        bulk = {**BULK, "maxAwaitDurationMs": self.settings.bulk_wait_ms}
        common = {"pubsubname": self.settings.pubsub, "route": EVENTS, "bulkSubscribe": bulk}
        live = [{**common, "topic": t, "deadLetterTopic": self.graveyard} for t in topics]
        return [*live, {**common, "topic": self.graveyard}] if live else []

    async def deliver(self, delivered: Any, topic: str | None = None) -> None:
        """Take one event as daprd, or the journal of a topic's owner, hands it over; returns when it is settled."""
        data = delivered.get("data", delivered) if isinstance(delivered, dict) else delivered
        kind = data.get("eventType") if isinstance(data, dict) else None
        if isinstance(kind, str) and not self._concerns(kind, topic):
            return  # no inbox mark, no cost
        raw = orjson.dumps(data)
        told = data if isinstance(data, dict) else {}
        producer, trace = str(told.get("origin", "")).partition("/")[0], told.get("traceparent", "")
        with tracing.span(str(kind), kind="CONSUMER", remote=producer, parent=trace):
            await self._engine().deliver(self._work(data, raw), len(raw))

    def _engine(self) -> Engine:
        if self.engine is None:
            raise Forbidden("this service takes no events")
        return self.engine

    def _concerns(self, kind: str, topic: str | None) -> bool:
        """Tell whether a type is handled here, and came from its owner or from our own dead letters."""
        handler = self.rules.events.get(kind)
        if handler is None:
            return False
        ours = topic in {None, self.graveyard, getattr(handler.message, "topic", topic)}
        if not ours:
            log.warning("an event is dropped: it is not told by its owner", extra={"type": kind, "topic": topic})
        return ours

    def _work(self, data: Any, raw: bytes) -> Work:
        try:
            if len(raw) > keys.EVENT_BYTES:
                raise TooLarge(f"an event of {len(raw)} bytes; the limit is {keys.EVENT_BYTES}")
            return self.message(data)
        except Problem as problem:
            name = f"unread/{keys.fingerprint(raw)}"
            kept = data if len(raw) <= KEPT_BYTES else raw[:KEPT_BYTES].decode(errors="replace")
            return Letter(name, "event", kept, problem.detail, at=self._engine().clock(), event_id=_id_of(data))

    def message(self, data: Any) -> Message:
        """Parse an event into a message for its handler; raises `Invalid`."""
        envelope = Envelope.parse(data)
        handler = self.rules.events.get(envelope.event_type)
        if handler is None:
            raise Invalid(f"nothing here handles {envelope.event_type}", field="eventType")
        now, correlation = self._engine().clock(), envelope.correlation_id or ""
        context = Context(now, envelope.event_id, correlation, envelope.revision, envelope.origin)
        cause = Cause(new_id().int, now, envelope.event_id, correlation, tracing.traceparent())
        event, place = self.rules.catalogue.read(envelope), origin(envelope.origin, envelope.event_type)
        return Message(envelope.event_id, handler, event, context, cause, raw=data, origin=place)

    async def _events(self, request: Request) -> Response:
        if CALLER in request.headers:
            raise Forbidden("events come from the broker, not by service invocation")
        body = orjson.loads(await request.body())
        topic = body.get("topic")  # which our own sidecar says
        self.deliveries[str(topic)] += 1
        self.delivering += 1
        try:
            if "entries" not in body:
                await self.deliver(body, topic)
                return _json({"status": "SUCCESS"})
            return _json({"statuses": await asyncio.gather(*(self._entry(e, topic) for e in body["entries"]))})
        finally:
            self.delivering -= 1

    async def _entry(self, entry: dict[str, Any], topic: str | None = None) -> dict[str, str]:
        try:
            await self.deliver(entry.get("event"), topic)
        except Problem:
            log.exception("an event could not be settled; the broker will bring it again")
            return {"entryId": entry["entryId"], "status": "RETRY"}
        return {"entryId": entry["entryId"], "status": "SUCCESS"}

    # the application

    def _build(self) -> FastAPI:
        app = Guarded(self._edge, title=self.name, lifespan=self._lifespan, docs_url=None, redoc_url=None)
        for kind, render in RENDERED.items():
            app.add_exception_handler(kind, render)
        app.add_route("/health", self._health, include_in_schema=False)
        app.add_route("/ready", self._ready, include_in_schema=False)
        app.include_router(Operators(self).router)
        if self.engine:
            app.add_route("/dapr/subscribe", self._subscribe, include_in_schema=False)
            self._methods[EVENTS] = self._events
        return app

    def _edge(self, inner: ASGIApp) -> ASGIApp:
        return Edge(inner, self._methods, self.settings.app_api_token, self.settings.request_bytes)

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: FastAPI) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self._live())] if self.engine else []
        tasks += [asyncio.create_task(self.walker.run())] if self.walker else []
        tasks += [asyncio.create_task(self._start())] if self._starters else []
        tasks += [asyncio.create_task(self._report())] if self.settings.spans else []
        try:
            yield
        finally:
            if self.engine:
                await self.engine.drain()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.sidecar.close()

    async def _live(self) -> None:
        engine = self._engine()
        try:
            await engine.run()
        except StoreUnfit as unfit:
            engine.reason = str(unfit)
            log.critical(engine.reason)
        except Exception:
            log.critical("the engine ended; this process must be started again", exc_info=True)
            os.kill(os.getpid(), signal.SIGTERM)

    async def _start(self) -> None:
        if self.engine:
            await self.engine.ready.wait()
        for starter in self._starters:
            while True:
                try:
                    await starter(self)
                    break
                except (Problem, SidecarError) as error:
                    log.warning("start-up work is repeated", extra={"reason": str(error)[:300]})
                    await asyncio.sleep(1)

    async def _report(self) -> None:
        chosen = self.settings
        await tracing.Reporter(self.name, chosen.spans, chosen.trace_share, chosen.traces_per_second).run()

    async def _health(self, _request: Request) -> Response:
        return _json({"service": self.name})

    async def readiness(self) -> dict[str, Any]:
        """Say whether this replica can serve, and what is not as it should be."""
        if self.engine is None:
            return {"ready": await self.sidecar.outbound_ready()}
        if self.engine.main is None or not self.engine.main.executor.accepting:
            return {"ready": False, "reason": self.engine.reason}
        reasons = self.engine.degraded()
        return {"ready": True, "degraded": bool(reasons), "reasons": reasons}

    async def _ready(self, _request: Request) -> Response:
        known = await self.readiness()
        return _json(known, 200 if known["ready"] else 503)

    async def _subscribe(self, _request: Request) -> Response:
        return _json(self.subscriptions())


def _id_of(data: Any) -> str:
    try:
        return Envelope.parse(data).event_id
    except Invalid:
        return ""


def _json(value: Any, status: int = 200) -> Response:
    return Reply(status, value).response()
