"""The API page (/docs), which needs no internet: its scripts come from a package instead of a content network."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import fastapi_offline
from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

from chassis.problems import MEDIA_TYPE

TITLE = "Outrigger"
DESCRIPTION = "Users, products and orders. Writes take an `Idempotency-Key`; errors are `application/problem+json`."
ASSETS = "/docs/assets"


def describe(app: FastAPI) -> None:
    """Add the page, and the description that it shows (/openapi.json)."""
    shipped = Path(fastapi_offline.__file__).parent / "static"
    app.mount(ASSETS, StaticFiles(directory=shipped), name="docs")
    app.add_api_route("/docs", _page, include_in_schema=False)
    app.openapi = lambda: _openapi(app)


async def _page() -> HTMLResponse:
    return get_swagger_ui_html(
        openapi_url="/openapi.json",
        title=TITLE,
        swagger_js_url=f"{ASSETS}/swagger-ui-bundle.js",
        swagger_css_url=f"{ASSETS}/swagger-ui.css",
        swagger_favicon_url=f"{ASSETS}/favicon.png",
    )


def _openapi(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        schema = get_openapi(title=TITLE, version=version("gateway"), description=DESCRIPTION, routes=app.routes)
        for operations in schema["paths"].values():
            for operation in operations.values():
                _as_problems(operation["responses"])
        app.openapi_schema = schema
    return app.openapi_schema


def _as_problems(responses: dict[str, Any]) -> None:
    """Refusals have a media type of their own, which FastAPI cannot be told."""
    for status in ("4XX", "5XX"):
        content = responses[status]["content"]
        content[MEDIA_TYPE] = content.pop("application/json")
