"""The edge: what every request passes before anything of the service's own sees it."""

import hmac
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.types import Message as AsgiMessage

from chassis.http.bodies import RENDERED, rendered
from chassis.operations import tracing
from chassis.problems import Forbidden, TooLarge
from chassis.reconciliation.journals import METHODS
from chassis.sidecar import CALLER

EVENTS = "/events"
PROBES = {"/health", "/ready"}  # asked by the platform, which has no token
UNTRACED = PROBES | METHODS | {EVENTS, "/dapr/subscribe", "/dapr/config", "/status", "/metrics"}
EVENTS_BYTES = 64 * 1024 * 1024  # a bulk of 100 events of at most 256 KiB, and what Dapr adds
Method = Callable[[Request], Awaitable[Response]]


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
