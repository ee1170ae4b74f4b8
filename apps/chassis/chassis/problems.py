"""Errors as facts, one tree, one renderer (RFC 9457 problem+json).

Problem                       a fact the caller can act on; carries its HTTP status
├── Invalid (422)             the request is well-formed but wrong; names the field
├── NotFound (404)
├── Conflict (409)            the request contradicts the present state
├── KeyReused (422)           an Idempotency-Key came back with another body
├── TooLarge (413)
├── Forbidden (403)
├── Unprocessed (503)         nothing was sent or stored; retry later
│   └── DependencyAway (503)  because somebody whom this service must ask does not answer
├── OutcomeUnknown (504)      it may have happened; retry with the same key
└── Failed (500)              our own fault; the log has the cause
"""

from http import HTTPStatus
from typing import Any, ClassVar

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    """A refusal or failure that is shown to the caller; `detail` says what to do next."""

    status: ClassVar[int] = HTTPStatus.INTERNAL_SERVER_ERROR
    retry_after: ClassVar[int | None] = None
    of_another: ClassVar[bool] = False  # no failure of the service that says it: a circuit to that must not count it

    def __init__(self, detail: str, **extra: Any) -> None:
        """Keep `extra` (JSON values, such as `field`) as members of the rendered problem."""
        super().__init__(detail)
        self.detail = detail
        self.extra = extra

    def body(self) -> dict[str, Any]:
        """Render the RFC 9457 members."""
        name = type(self).__name__
        return {
            "type": f"problem:{name}",
            "title": name,
            "status": int(self.status),
            "detail": self.detail,
            **self.extra,
        }

    @classmethod
    def parse(cls, body: dict[str, Any]) -> "Problem":
        """Turn a rendered problem back into the exception it came from; an unknown kind becomes `Failed`."""
        members = {k: v for k, v in body.items() if k not in {"type", "title", "status", "detail"}}
        kind = _KINDS.get(str(body.get("type", "")).removeprefix("problem:"), Failed)
        return kind(str(body.get("detail", "no detail given")), **members)


class Invalid(Problem):
    """The request is well-formed but wrong."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY


class NotFound(Problem):
    """The named thing does not exist."""

    status = HTTPStatus.NOT_FOUND


class Conflict(Problem):
    """The request contradicts the present state."""

    status = HTTPStatus.CONFLICT


class KeyReused(Problem):
    """An Idempotency-Key came back with another body."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY


class TooLarge(Problem):
    """The request is larger than this service takes."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class Forbidden(Problem):
    """The caller may not do this."""

    status = HTTPStatus.FORBIDDEN


class Unprocessed(Problem):
    """Nothing was sent or stored: the caller may retry later."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    retry_after = 2


class DependencyAway(Unprocessed):
    """Somebody whom this service must ask does not answer; nothing was stored."""

    of_another = True


class OutcomeUnknown(Problem):
    """It may have happened: the caller retries with the same Idempotency-Key."""

    status = HTTPStatus.GATEWAY_TIMEOUT
    retry_after = 2


class Failed(Problem):
    """Our own fault."""


def _kinds(root: type[Problem]) -> dict[str, type[Problem]]:
    return {root.__name__: root} | {k: v for sub in root.__subclasses__() for k, v in _kinds(sub).items()}


_KINDS = _kinds(Problem)
