"""The status page (`/`) and its live news (`/live`): for a person who wants to see that it works, and how it breaks.

The page is one file, without anything from elsewhere; its content policy lets it run only what stands in it.
"""

import base64
import hashlib
import re
from collections.abc import Sequence
from importlib.resources import files
from urllib.parse import urlsplit

import orjson
from fastapi import APIRouter, Response
from sse_starlette import EventSourceResponse

from chassis.service import Service
from gateway.live import Live

HEARTBEAT = 10  # seconds
SEND_SECONDS = 10.0  # then a listener that takes nothing is gone
SETTINGS = "{{settings}}"


class Page:
    """The routes of the page."""

    def __init__(self, service: Service, apps: Sequence[str], *, traces: str = "") -> None:
        """`apps` are the services behind; `traces` is where spans are reported, at whose host people look at them."""
        self.live = Live(service, apps)
        self._html = _page(_viewer(traces))
        self._headers = {
            "content-security-policy": _policy(self._html),
            "cache-control": "no-cache",
            "referrer-policy": "no-referrer",
            "x-content-type-options": "nosniff",
        }
        self.router = APIRouter(include_in_schema=False)
        self.router.add_api_route("/", self.page, methods=["GET"])
        self.router.add_api_route("/live", self.news, methods=["GET"])

    async def page(self) -> Response:
        """Show the page."""
        return Response(self._html, media_type="text/html", headers=self._headers)

    async def news(self) -> Response:
        """Send what changes, until the listener or this process goes; `Unprocessed` when too many look."""
        return EventSourceResponse(self.live.follow(), ping=HEARTBEAT, send_timeout=SEND_SECONDS)


def _page(viewer: str | None) -> str:
    settings = orjson.dumps({"traces": viewer}).decode().replace("<", "\\u003c")
    return files("gateway").joinpath("page.html").read_text(encoding="utf-8").replace(SETTINGS, settings)


def _viewer(traces: str) -> str | None:
    """Return Zipkin's page, beside the address to which spans are reported."""
    where = urlsplit(traces)
    return f"{where.scheme}://{where.netloc}/zipkin/" if where.netloc else None


def _policy(html: str) -> str:
    """Allow the page's own style and scripts, by their hashes, and calls to this gateway; nothing else."""
    hashes = {
        tag: " ".join(f"'sha256-{_hash(text)}'" for text in re.findall(rf"<{tag}[^>]*>(.*?)</{tag}>", html, re.DOTALL))
        for tag in ("style", "script")
    }
    return (
        f"default-src 'none'; connect-src 'self'; img-src data:; style-src {hashes['style']}; "
        f"script-src {hashes['script']}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
