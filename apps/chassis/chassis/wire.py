"""What goes over the wire to daprd, and what its answers mean. Pure; `chassis.daprd` does the talking.

What is not recognised is unknown (`Unanswered`); `Refused` and `ETagMismatch` need proof:

- daprd is not (yet) able, whatever the request (component missing or being swapped, token, rate): `Unreachable`, since
  nothing reached the component
- any other 4xx, and what JSON cannot hold: `Refused`
- 500 `ERR_STATE_TRANSACTION` with the words of a failed comparison: `ETagMismatch`. True only while no resiliency
  policy retries the store: a retry could meet its own first attempt.
- everything else, also an answer that cannot be read: `Unanswered`
"""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import orjson

from chassis.sidecar import (
    Delete,
    Entry,
    ETagMismatch,
    Operation,
    Refused,
    SidecarError,
    Stored,
    Unanswered,
    Unreachable,
)

BODY_BYTES = 4 * 1024 * 1024  # daprd's default --max-body-size
PARALLELISM = 32  # for stores without a bulk get of their own

_DONE = {HTTPStatus.OK, HTTPStatus.NO_CONTENT}
_FIRST_WRITE = {"concurrency": "first-write"}
_MISMATCH = ("possible etag mismatch", "no item was updated")  # the second is PostgreSQL's insert-only
_UNABLE = {
    "ERR_STATE_STORE_NOT_FOUND",
    "ERR_STATE_STORE_NOT_CONFIGURED",
    "ERR_STATE_STORES_NOT_CONFIGURED",
    "ERR_PUBSUB_NOT_FOUND",
    "ERR_PUBSUB_NOT_CONFIGURED",
}
_UNABLE_STATUS = {
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.TOO_MANY_REQUESTS,
}


def bulk_get(keys: Sequence[str]) -> bytes:
    """Encode a bulk get; raises `Refused`."""
    return encode({"keys": keys, "parallelism": PARALLELISM})


def transaction(operations: Sequence[Operation]) -> bytes:
    """Encode a state transaction; raises `Refused`."""
    return encode({"operations": [_operation(each) for each in operations]})


def bulk_publish(entries: Sequence[Entry]) -> bytes:
    """Encode a bulk publish; raises `Refused`."""
    return encode([_entry(each) for each in entries])


def encode(value: Any) -> bytes:
    """Encode JSON; raises `Refused` for what it cannot hold and for more than daprd takes.

    daprd resets the connection of a body far beyond its limit, which would look like an unknown outcome.
    """
    try:
        body = orjson.dumps(value)
    except TypeError as error:
        raise Refused(f"not JSON: {error}") from error
    if len(body) > BODY_BYTES:
        raise Refused(f"a request of {len(body)} bytes; daprd takes {BODY_BYTES}: split it")
    return body


def stored(keys: Sequence[str], status: int, answer: bytes) -> dict[str, Stored]:
    """Read the answer to a bulk get; a key without a verdict raises, it is never taken for absent."""
    if status != HTTPStatus.OK:
        raise failure(status, answer)
    try:
        rows = {row["key"]: row for row in orjson.loads(answer)}
        bad = [key for key in keys if key not in rows or "error" in rows[key]]
        found = {key: Stored(row["data"], row["etag"]) for key, row in rows.items() if "data" in row}
    except (ValueError, TypeError, KeyError) as error:
        raise Unanswered(f"daprd's bulk get cannot be read: {error!r}") from error
    if bad:
        raise Unanswered(f"daprd could not read {len(bad)} keys, the first {bad[0]!r}: {rows.get(bad[0])}")
    return found


def applied(status: int, answer: bytes) -> None:
    """Read the answer to a state transaction; raises unless all of it was applied."""
    if status not in _DONE:
        raise failure(status, answer)


def failed_entries(status: int, answer: bytes) -> set[str]:
    """Read the answer to a bulk publish: the ids that were not taken. An error that names none of them raises."""
    if status in _DONE and not answer:
        return set()
    try:
        failed = {entry["entryId"] for entry in orjson.loads(answer)["failedEntries"] or ()}
    except (ValueError, TypeError, KeyError):
        raise failure(status, answer) from None
    if not failed and status not in _DONE:
        raise failure(status, answer)
    return failed


def failure(status: int, answer: bytes) -> SidecarError:
    """Say what an answer other than the hoped-for one proves."""
    code, message = _reason(answer)
    said = f"daprd answered {status}: {answer[:300].decode(errors='replace')}"
    if code in _UNABLE or status in _UNABLE_STATUS:
        return Unreachable(said)
    if HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return Refused(said)
    if code == "ERR_STATE_TRANSACTION" and any(words in message for words in _MISMATCH):
        return ETagMismatch(said)
    return Unanswered(said)


def _reason(answer: bytes) -> tuple[str, str]:
    try:
        body = orjson.loads(answer)
        return str(body["errorCode"]), str(body.get("message", ""))
    except (ValueError, TypeError, KeyError):
        return "", ""


def _operation(operation: Operation) -> dict[str, Any]:
    request: dict[str, Any] = {"key": operation.key}
    if operation.etag is not None:
        request |= {"etag": operation.etag, "options": _FIRST_WRITE}
    if isinstance(operation, Delete):
        return {"operation": "delete", "request": request}
    request["value"] = operation.value
    if operation.insert:
        request["options"] = _FIRST_WRITE
    if operation.ttl is not None:
        request["metadata"] = {"ttlInSeconds": str(operation.ttl)}
    return {"operation": "upsert", "request": request}


def _entry(entry: Entry) -> dict[str, Any]:
    wire = {"entryId": entry.entry_id, "event": entry.event, "contentType": "application/json"}
    return wire | {"metadata": {"partitionKey": entry.partition_key}} if entry.partition_key else wire
