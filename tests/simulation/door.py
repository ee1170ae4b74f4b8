"""A service's way in, as FastAPI puts it together, less what is FastAPI's own: half of what a request cost was that.

What stays is ours, in its order: the edge, the rendering of refusals, the routes and all that they parse and check.
Left out are the layers for telemetry, for FastAPI's bound on bodies and for unforeseen errors, which a simulation wants
to see as they are; and a route whose path has no parameter is looked up instead of searched for.
"""

from contextlib import AsyncExitStack
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from chassis.service import Edge


class Door:
    """Takes requests for one application, whose routes are all there."""

    def __init__(self, app: FastAPI) -> None:
        """Take the application's layers from the edge inwards."""
        self._app = app
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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        scope["app"] = self._app
        await self._edge(scope, receive, send)

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
