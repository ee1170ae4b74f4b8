"""Traces: W3C trace context in and out, and the spans that only an app can tell of, reported to Zipkin.

Sidecars report the calls between services. What goes through a journal is out of their sight, so each event keeps the
context of the work that it came from, and whoever handles it reports a span there. Whether a trace is kept is decided
once, where it begins, and stands in its flag; one that is not kept costs next to nothing. Nobody waits for Zipkin: the
queue is bounded, and what cannot be reported is dropped. Names and tags hold no personal data and no ids of people.
"""

import asyncio
import random
import re
import secrets
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import aiohttp
import orjson
from starlette.types import Message, Scope, Send

QUEUE = 4000  # spans; the oldest give way
WITHIN = aiohttp.ClientTimeout(total=2)
_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_ODD = frozenset("13579bdf")  # the last digit of the flags of a trace that is kept
_current: ContextVar[str] = ContextVar("traceparent", default="")
_tags: ContextVar[dict[str, str] | None] = ContextVar("tags", default=None)


@dataclass(slots=True)
class Reporter:
    """Decides which traces are kept, and sends this process's spans. `share` is of all traces, 0 to 1."""

    service: str
    endpoint: str
    share: float = 1.0
    per_second: int = 10
    every: float = 1.0  # s between reports
    spans: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=QUEUE))
    _second: int = 0
    _kept: Counter[str] = field(default_factory=Counter)

    def keeps(self, verb: str) -> bool:
        """Decide about a trace that begins now: of the share that is looked at, the first so many of each second.

        Each verb has a second of its own: somebody who looks all the time does not hide an order.
        """
        if self.share < 1 and random.random() >= self.share:  # noqa: S311 - no secret
            return False
        if (second := int(time.monotonic())) != self._second:
            self._second = second
            self._kept.clear()
        self._kept[verb] += 1
        return self._kept[verb] <= self.per_second

    async def run(self) -> None:
        """Report until cancelled, and then once more."""
        _reporters.append(self)
        async with aiohttp.ClientSession(timeout=WITHIN, headers={"content-type": "application/json"}) as http:
            try:
                while True:
                    await asyncio.sleep(self.every)
                    await self._send(http)
            finally:
                _reporters.remove(self)
                await self._send(http)

    async def _send(self, http: aiohttp.ClientSession) -> None:
        spans = [self.spans.popleft() for _ in range(len(self.spans))]
        try:
            if spans:
                await (await http.post(self.endpoint, data=orjson.dumps(spans))).read()
        except (aiohttp.ClientError, TimeoutError, OSError):
            self.spans.extendleft(reversed(spans[-(QUEUE - len(self.spans)) :]))  # Zipkin may come up later


_reporters: list[Reporter] = []  # the last is this process's; none where nobody wants spans


def traceparent() -> str:
    """The trace context of the work at hand, or an empty string."""
    return _current.get()


def unkept() -> str:
    """The context at hand, for somebody who shall report nothing."""
    return f"{_current.get()[:53]}00" if _current.get() else ""


def follow(incoming: object, *, outside: str = "") -> str:
    """Continue an incoming W3C `traceparent`, or begin a new trace where it is absent or malformed.

    What comes from outside (then its verb is given) is kept only as far as a trace that begins here would be.
    """
    context = incoming if isinstance(incoming, str) and _TRACEPARENT.fullmatch(incoming) else ""
    if outside or not context:
        keep = (not context or _kept(context)) and bool(_reporters) and _reporters[-1].keeps(outside)
        context = f"{context[:53] or f'00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-'}{keep:02x}"
    _current.set(context)
    return context


@contextmanager
def span(
    name: str, *, kind: str = "", remote: str = "", parent: object = None, outside: str = ""
) -> Iterator[dict[str, str] | None]:
    """Report the work inside as a span, where its trace is kept: of `parent`'s, else of the one at hand.

    `kind` is Zipkin's (CLIENT, SERVER, CONSUMER or none), `remote` the other side's name. Yields the tags, in which
    `name` may be set too; None where nothing is reported.
    """
    above = traceparent() if parent is None else follow(parent, outside=outside)
    if not _kept(above):
        yield None
        return
    begins = parent is not None and above[:53] != str(parent)[:53]
    own, began, tags = above[36:52] if begins else secrets.token_hex(8), time.time(), {"name": name}
    was, had = _current.set(f"{above[:36]}{own}-01"), _tags.set(tags)
    try:
        yield tags
    except Exception as error:
        if getattr(error, "status", 500) >= HTTPStatus.INTERNAL_SERVER_ERROR:
            tags["error"] = type(error).__name__
        raise
    finally:
        _current.reset(was)
        _tags.reset(had)
        told = {
            "traceId": above[3:35], "parentId": "" if begins else above[36:52], "id": own, "kind": kind,
            "name": tags.pop("name"), "tags": tags, "remoteEndpoint": remote and {"serviceName": remote},
            "timestamp": int(began * 1e6), "duration": max(1, int((time.time() - began) * 1e6)),
        }  # fmt: skip
        for reporter in _reporters[-1:]:
            told["localEndpoint"] = {"serviceName": reporter.service}
            reporter.spans.append({name: value for name, value in told.items() if value})


def tag(**more: str) -> None:
    """Add to the span at hand, if there is one. No personal data, no ids of people."""
    if (tags := _tags.get()) is not None:
        tags |= more


def telling(scope: Scope, send: Send, tags: dict[str, str]) -> Send:
    """Name the span by its route, which holds no ids, and the trace in the answer."""
    trace = traceparent().encode()

    async def telling(message: Message) -> None:
        if message["type"] == "http.response.start":
            path = getattr(scope.get("route"), "path", scope["path"] if "endpoint" in scope else "")
            tags.update({"name": f"{scope['method']} {path}", "http.status_code": str(message["status"])})
            message = {**message, "headers": [*message["headers"], (b"traceresponse", trace)]}
        await send(message)

    return telling


def _kept(context: str) -> bool:
    return context[54:] in _ODD
