"""A service's way in, as FastAPI puts it together, less what is FastAPI's own: half of what a request cost was that.

What stays is ours, in its order: the edge, the rendering of refusals, the routes and all that they parse and check.
Left out are the layers for telemetry, for FastAPI's bound on bodies and for unforeseen errors, which a simulation wants
to see as they are; and a route whose path has no parameter is looked up instead of searched for.
"""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import cache
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, FastAPI
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from chassis.http.edge import Edge
from support.http import Heard

SCOPE = {
    "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "root_path": "",
    "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8080),
}  # fmt: skip


@cache
def _lower(name: str) -> bytes:
    return name.lower().encode("latin-1")


class Door:
    """Takes requests for one application, whose routes are all there."""

    def __init__(self, app: FastAPI) -> None:
        """Take the application's layers from the edge inwards."""
        self._scope = {**SCOPE, "app": app}
        self._edge: ASGIApp = _layer(app.build_middleware_stack(), Edge)
        self._inner = getattr(self._edge, "_app")  # noqa: B009 - private
        setattr(self._edge, "_app", self._route)  # noqa: B010 - private
        self._own = {
            "router": app.router, "path_params": {}, "fastapi_middleware_astack": AsyncExitStack(),
            "starlette.exception_handlers": _handlers(_layer(self._inner, ExceptionMiddleware)),
        }  # fmt: skip
        routes = [r for r in app.routes if isinstance(r, Route)]
        self._known = {(verb, r.path): r for r in reversed(routes) for verb in r.methods or () if "{" not in r.path}
        self._patterns = [r for r in routes if "{" in r.path]

    async def ask(
        self, verb: str, path: str, body: bytes, query: Mapping[str, str], headers: Mapping[str, str]
    ) -> Heard:
        """Answer a request, as `support.http.ask` does."""
        messages: list[Any] = [{"type": "http.request", "body": body, "more_body": False}]
        answers: list[Any] = []

        async def receive() -> Any:
            return messages.pop() if messages else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            answers.append(message)

        sent = [(_lower(name), value.encode("latin-1")) for name, value in headers.items()]
        sent.append((b"content-length", b"%d" % len(body)))
        await self._edge({**self._scope, "method": verb, "path": path, "raw_path": path.encode(),
            "query_string": urlencode(query).encode() if query else b"", "headers": sent}, receive, send)  # fmt: skip
        found = {name.decode(): value.decode() for name, value in answers[0]["headers"]}
        return Heard(answers[0]["status"], found, b"".join([each["body"] for each in answers[1:] if "body" in each]))

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        route, found = self._known.get((scope["method"], scope["path"])), {}
        if route is None:
            route, found = self._matching(scope)
        if route is None:
            await self._inner(scope, receive, send)
            return
        scope.update({**self._own, "endpoint": route.endpoint, "route": route, **found})
        await route.app(scope, receive, send)

    def _matching(self, scope: Scope) -> tuple[Route | None, Scope]:
        for route in self._patterns:
            match, found = route.matches(scope)
            if match == Match.FULL:
                return route, found
        return None, {}


def add(app: FastAPI, router: APIRouter) -> None:
    """Add routes as they are, which `include_router` would wrap to be searched for twice; the gateway's come first."""
    app.router.routes[:0] = router.routes


def _layer(stack: Any, wanted: type) -> Any:
    while not isinstance(stack, wanted):
        stack = stack.app
    return stack


def _handlers(layer: ExceptionMiddleware) -> Any:
    return getattr(layer, "_exception_handlers"), getattr(layer, "_status_handlers")  # noqa: B009 - private
