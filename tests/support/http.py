"""Asks an ASGI application without a network."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import orjson
from starlette.types import ASGIApp


@dataclass(frozen=True, slots=True)
class Heard:
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        """The body, read as JSON."""
        return orjson.loads(self.content)


async def ask(
    app: ASGIApp,
    verb: str,
    path: str,
    *,
    body: Any = None,
    query: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Heard:
    """Send one request; `body` is bytes, or a JSON value."""
    data = body if isinstance(body, bytes) else b"" if body is None else orjson.dumps(body)
    sent = {"content-type": "application/json", "content-length": str(len(data)), **(headers or {})}
    messages = [{"type": "http.request", "body": data, "more_body": False}]
    answers: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        answers.append(message)

    await app(_scope(verb, path, query or {}, sent), receive, send)
    content = b"".join(each.get("body", b"") for each in answers[1:])
    found = {name.decode(): value.decode() for name, value in answers[0]["headers"]}
    return Heard(answers[0]["status"], found, content)


def _scope(verb: str, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "http",
        "method": verb,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": urlencode(query).encode(),
        "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8080),
    }
