"""A service as the world meets it: FastAPI routes, the events that daprd delivers, health, and how it is started."""

import asyncio
import contextlib
import hmac
import logging
import os
import signal
import socket
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import orjson
import uvicorn
from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.types import Message as AsgiMessage

from chassis import keys, process
from chassis.daprd import Daprd
from chassis.draft import Cause, states
from chassis.engine import Engine, StoreUnfit
from chassis.envelope import Command, Envelope
from chassis.operations import tracing
from chassis.operations.operators import Operators
from chassis.problems import MEDIA_TYPE, Forbidden, Invalid, NotFound, OutcomeUnknown, Problem, TooLarge, Unprocessed
from chassis.reconciliation.cursor import origin
from chassis.reconciliation.journals import METHODS, Journals
from chassis.reconciliation.walker import Walker
from chassis.rules import Context, Ref, Rules, S, View
from chassis.sidecar import CALLER, Sidecar, SidecarError, Unreachable, call
from chassis.work import Letter, Message, Redrive, Reply, Work

EVENTS = "/events"
PROBES = {"/health", "/ready"}  # asked by the platform, which has no token
UNTRACED = PROBES | METHODS | {EVENTS, "/dapr/subscribe", "/dapr/config", "/status", "/metrics"}
KEY_LENGTH = 200
EVENTS_BYTES = 64 * 1024 * 1024  # a bulk of 100 events of at most 256 KiB, and what Dapr adds
KEPT_BYTES = 64 * 1024  # of a message that cannot be read
BULK = {"enabled": True, "maxMessagesCount": 100, "maxAwaitDurationMs": 10}
LINGER = 0.3  # s in which a connection may still bring a request when this process ends
NO_JSON = "the body is no JSON; check it and its content-type"
B = TypeVar("B", bound=BaseModel)
Method = Callable[[Request], Awaitable[Response]]
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
        self.name, self.rules = name, rules or Rules()
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
            return (await act(await _parsed(model, request), request)).response()

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
        seed, now = uuid.uuid4(), self.engine.clock()
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
        graveyard = f"{self.name}-dead"
        common = {"pubsubname": self.settings.pubsub, "route": EVENTS, "bulkSubscribe": BULK}
        live = [{**common, "topic": t, "deadLetterTopic": graveyard} for t in topics]
        return [*live, {**common, "topic": graveyard}] if live else []

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
        owners = getattr(handler.message, "topic", topic) if handler else None
        if handler and topic not in {None, owners, f"{self.name}-dead"}:
            log.warning("an event is dropped: it is not told by its owner", extra={"type": kind, "topic": topic})
            return False
        return handler is not None

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
        cause = Cause(uuid.uuid4().int, now, envelope.event_id, correlation, tracing.traceparent())
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


class Server(uvicorn.Server):
    """Ends without cutting anybody off.

    uvicorn, told to end, closes every connection that has no request under way. To a client whose request is on its
    way, or lies there unread, that is a reset, and it cannot know whether its wish was heard.
    """

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more connections, and for a moment requests on those there are; each answer ends its connection."""
        for server in self.servers:
            server.close()
        self.server_state.default_headers.append((b"connection", b"close"))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER):
                while self.server_state.connections:  # noqa: ASYNC110 - a set of uvicorn's, which tells nobody
                    await asyncio.sleep(0.01)
        await super().shutdown(sockets)


class Guarded(FastAPI):
    """FastAPI behind an edge."""

    def __init__(self, edge: Callable[[ASGIApp], ASGIApp], **options: Any) -> None:
        """`edge` is put before all of FastAPI's own layers."""
        self._edge = edge
        super().__init__(**options)

    def build_middleware_stack(self) -> ASGIApp:
        """Put the layers together, at the first request."""
        return self._edge(super().build_middleware_stack())


class Edge:
    """Every request passes here: trace context, the app's own token, the bound on its size, methods by their path."""

    def __init__(self, app: ASGIApp, methods: Mapping[str, Method], app_token: str | None, request_bytes: int) -> None:
        """`app_token`, where set, must come with every request (APP_API_TOKEN)."""
        self._app, self._methods, self._token, self._request_bytes = app, methods, app_token, request_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        limit = EVENTS_BYTES if scope["path"] == EVENTS else self._request_bytes
        if (
            self._token
            and scope["path"] not in PROBES
            and not hmac.compare_digest(headers.get(b"dapr-api-token", b""), self._token.encode())
        ):
            await rendered(Forbidden("the dapr-api-token is missing or wrong"))(scope, receive, send)
        elif int(headers.get(b"content-length", b"0")) > limit:
            await rendered(_too_large(limit))(scope, receive, send)
        else:
            await self._traced(headers, scope, _bounded(receive, limit), send)

    async def _traced(self, headers: dict[bytes, bytes], scope: Scope, receive: Receive, send: Send) -> None:
        """Begin or continue a trace. Deliveries have one for each event; probes have none."""
        if scope["path"] in UNTRACED:
            await self._answered(scope, receive, send)
            return
        trace = headers.get(b"traceparent", b"").decode("latin-1")
        outside = "" if CALLER.encode() in headers else scope["method"]
        with tracing.span("", kind="SERVER" if outside else "", parent=trace, outside=outside) as tags:
            await self._answered(scope, receive, send if tags is None else tracing.telling(scope, send, tags))

    async def _answered(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call a method, or leave it to FastAPI where there is none of that path."""
        method = self._methods.get(scope["path"]) if scope["method"] == "POST" else None
        if method is None:
            await self._app(scope, receive, send)
            return
        request, scope["endpoint"] = Request(scope, receive), method
        try:
            response = await method(request)
        except tuple(RENDERED) as error:
            response = await next(render for kind, render in RENDERED.items() if isinstance(error, kind))(
                request, error
            )
        await response(scope, receive, send)


def _bounded(receive: Receive, limit: int) -> Receive:
    left = limit

    async def bounded() -> AsgiMessage:
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise HTTPException(TooLarge.status, _too_large(limit).detail)  # which FastAPI does not swallow
        return message

    return bounded


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"the request is larger than {limit} bytes; send less")


def _json(value: Any, status: int = 200) -> Response:
    return Reply(status, value).response()


def rendered(problem: Problem, *, between_services: bool = False) -> Response:
    """Render a refusal or failure; `between_services` refusals travel as 2xx."""
    headers = {"retry-after": str(problem.retry_after)} if problem.retry_after else None
    # our own failures stay failures, so that circuits see them
    refused = problem.status < 500 or problem.of_another  # noqa: PLR2004 - it reads as what it is
    status = 200 if between_services and refused else int(problem.status)
    return Response(orjson.dumps(problem.body()), status, headers, MEDIA_TYPE)


async def _problem(request: Request, problem: Exception) -> Response:
    assert isinstance(problem, Problem)  # noqa: S101 - registered for it
    return rendered(problem, between_services=CALLER in request.headers)


async def _sidecar_error(request: Request, error: Exception) -> Response:
    log.warning("a call through the sidecar failed", extra={"reason": str(error)[:300]})
    if isinstance(error, Unreachable):
        return await _problem(request, Unprocessed("the sidecar is not there; nothing was sent, try again shortly"))
    return await _problem(request, OutcomeUnknown("no answer from the service behind; ask again, with the same key"))


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
    kind = {404: NotFound, 405: NotFound, 413: TooLarge}.get(error.status_code, Invalid)
    return await _problem(request, kind(str(error.detail)))


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for it
    first = error.errors()[0]
    return await _problem(request, _wrong(first["type"], first["loc"][1:], first["msg"]))  # less "body" or "query"


RENDERED: Final[dict[type[Exception], Callable[[Request, Any], Awaitable[Response]]]] = {
    Problem: _problem, SidecarError: _sidecar_error, RequestValidationError: _invalid, HTTPException: _http_error,
}  # fmt: skip


async def _parsed(model: type[B], request: Request) -> B:
    body = await request.body()
    kind = request.headers.get("content-type", "").lower()
    if not kind.startswith("application/json"):  # which a foreign page cannot send unasked
        raise Invalid(NO_JSON, field="(body)")
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        raise _wrong(first["type"], first["loc"], first["msg"]) from None


def _wrong(kind: str, where: Sequence[str | int], why: str) -> Invalid:
    if kind == "json_invalid":
        return Invalid(NO_JSON, field="(body)")
    field = ".".join(map(str, where)) or "(body)"
    return Invalid(f"{field}: {why}", field=field)
