"""The seam to Dapr: what the engine asks of a sidecar, and the ways in which it can be refused.

Two implementations: `chassis.daprd` (the real one) and `chassis_testing.memory` (fault injection, unit tests). One
suite runs against both; where they differ, the in-memory one is wrong.

SidecarError
├── ETagMismatch    the transaction was refused because an ETag or an insert-only key did not match; nothing applied
├── Refused         a definite no to this request (too large, malformed); nothing applied
├── Unreachable     nothing was sent
└── Unanswered      sent, but the outcome is unknown (time-out, cut connection, 5xx)
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, NamedTuple, Protocol

import orjson

from chassis.operations import tracing
from chassis.operations.circuits import Circuits
from chassis.problems import MEDIA_TYPE, Problem

CALLER = "dapr-caller-app-id"  # the header in which daprd names the app that invokes
GRAVEYARD = "-dead"  # ends the name of an app's dead-letter topic


class SidecarError(Exception):
    """The sidecar did not do what was asked."""


class ETagMismatch(SidecarError):
    """An ETag or an insert-only key did not match; nothing was applied."""


class Refused(SidecarError):
    """A definite no to this very request; nothing was applied, and repeating it is pointless."""


class Unreachable(SidecarError):
    """Nothing was sent."""


class Unanswered(SidecarError):
    """It was sent and may have happened, now or later."""


class Stored(NamedTuple):
    """A value read from the store. `etag` is opaque: compare it, never look into it."""

    value: Any
    etag: str


class Put(NamedTuple):
    """Write a JSON value (never null).

    With `etag`: only if the stored one still has it. With `insert`: only if the key is absent. With neither: always.
    `ttl` is in seconds.
    """

    key: str
    value: Any
    etag: str | None = None
    insert: bool = False
    ttl: int | None = None


class Delete(NamedTuple):
    """Remove a key; with `etag` only if the stored value still has it. An absent key is no error without `etag`."""

    key: str
    etag: str | None = None


Operation = Put | Delete


@dataclass(frozen=True, slots=True)
class Entry:
    """One event to publish, a JSON object; `partition_key` keeps an aggregate in order where a broker can."""

    entry_id: str
    event: Mapping[str, Any]
    partition_key: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What an invoked app answered."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class Sidecar(Protocol):
    """What the engine needs of Dapr. Every call has a time-out of its own and raises only `SidecarError`."""

    circuits: Circuits  # what was learnt from the answers to `call`

    async def read(self, keys: Sequence[str]) -> dict[str, Stored]:
        """Bulk get; absent keys are left out. Keys may repeat; order does not matter."""
        ...

    async def transact(self, operations: Sequence[Operation]) -> None:
        """Apply all operations or none. Raises every kind of `SidecarError`; only `Unanswered` is not definite."""
        ...

    async def publish(self, topic: str, entries: Sequence[Entry]) -> set[str]:
        """Publish in bulk; returns the ids of the entries that were *not* taken.

        Raises `SidecarError` if nothing is known of any entry.
        """
        ...

    async def invoke(
        self,
        app: str,
        method: str,
        *,
        body: bytes | None = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        verb: str = "POST",
    ) -> Answer:
        """Call another app's method by service invocation; any HTTP status is an `Answer`."""
        ...

    async def bind(self, binding: str, operation: str, data: str, metadata: Mapping[str, str]) -> None:
        """Call an output binding. Raises `SidecarError`; only `Unanswered` may have happened."""
        ...

    async def outbound_ready(self) -> bool:
        """Tell whether daprd's components are up (`/v1.0/healthz/outbound`); never raises."""
        ...

    async def close(self) -> None:
        """Give back connections."""
        ...


async def call(
    sidecar: Sidecar, app: str, method: str, *, body: Mapping[str, Any] | None = None,
    query: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None, verb: str = "POST",
    alone: bool = False,
) -> tuple[Answer, Any]:  # fmt: skip
    """Call another service's method; returns the answer and its JSON body.

    A refusal travels as 2xx with a problem body, because the sidecar counts a 4xx as a failure, retries it and opens
    the circuit: it is raised as the `Problem` that the other service raised. A real failure raises `SidecarError`.

    The sidecars report the call, unless we do `alone`: daprd writes a query, which may name people, into its spans, and
    knows an endpoint outside by nothing but its own address.
    """
    data = None if body is None else orjson.dumps(body)
    own = alone or bool(query)
    with tracing.span(method, kind="CLIENT", remote=app) if own else nullcontext():
        trace = tracing.unkept() if own else tracing.traceparent()
        sent = {"content-type": "application/json", "traceparent": trace, **(headers or {})}
        began = time.monotonic()
        answer = await sidecar.invoke(app, method, body=data, query=query, headers=sent, verb=verb)
        sidecar.circuits.heard(app, method, began, answer.status, answer.body)
        return answer, _read(app, method, answer)


def _read(app: str, method: str, answer: Answer) -> Any:
    if answer.headers.get("content-type", "").startswith(MEDIA_TYPE):
        raise Problem.parse(_json(answer))
    if answer.status >= HTTPStatus.BAD_REQUEST:
        raise Unanswered(f"{app}/{method} answered {answer.status}: {answer.body[:200].decode(errors='replace')}")
    return _json(answer)


def _json(answer: Answer) -> Any:
    try:
        return orjson.loads(answer.body or b"null")
    except orjson.JSONDecodeError:
        raise Unanswered(f"an answer that is no JSON: {answer.body[:200].decode(errors='replace')}") from None
