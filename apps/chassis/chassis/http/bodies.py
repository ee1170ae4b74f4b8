"""Bodies as HTTP carries them: a request's model, and a problem+json for each way in which a request can end badly."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

import orjson
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from chassis.problems import MEDIA_TYPE, Invalid, NotFound, OutcomeUnknown, Problem, TooLarge, Unprocessed
from chassis.sidecar import CALLER, SidecarError, Unreachable

NO_JSON = "the body is no JSON; check it and its content-type"
B = TypeVar("B", bound=BaseModel)
log = logging.getLogger(__name__)


def rendered(problem: Problem, *, between_services: bool = False) -> Response:
    """Render a refusal or failure; `between_services` refusals travel as 2xx."""
    headers = {"retry-after": str(problem.retry_after)} if problem.retry_after else None
    # our own failures stay failures, so that circuits see them
    refused = problem.status < 500 or problem.of_another  # noqa: PLR2004 - it reads as what it is
    status = 200 if between_services and refused else int(problem.status)
    return Response(orjson.dumps(problem.body()), status, headers, MEDIA_TYPE)


async def _problem(request: Request, problem: Exception) -> Response:
    assert isinstance(problem, Problem)  # noqa: S101 - registered for it
    return rendered(problem, between_services=CALLER in request.headers)


async def _sidecar_error(request: Request, error: Exception) -> Response:
    log.warning("a call through the sidecar failed", extra={"reason": str(error)[:300]})
    if isinstance(error, Unreachable):
        return await _problem(request, Unprocessed("the sidecar is not there; nothing was sent, try again shortly"))
    return await _problem(request, OutcomeUnknown("no answer from the service behind; ask again, with the same key"))


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
    kind = {404: NotFound, 405: NotFound, 413: TooLarge}.get(error.status_code, Invalid)
    return await _problem(request, kind(str(error.detail)))


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for it
    first = error.errors()[0]
    return await _problem(request, _wrong(first["type"], first["loc"][1:], first["msg"]))  # less "body" or "query"


RENDERED: Final[dict[type[Exception], Callable[[Request, Any], Awaitable[Response]]]] = {
    Problem: _problem, SidecarError: _sidecar_error, RequestValidationError: _invalid, HTTPException: _http_error,
}  # fmt: skip


async def parsed(model: type[B], request: Request) -> B:
    """Read a request's JSON body as a model; raises `Invalid`, with the field."""
    body = await request.body()
    kind = request.headers.get("content-type", "").lower()
    if not kind.startswith("application/json"):  # which a foreign page cannot send unasked
        raise Invalid(NO_JSON, field="(body)")
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        raise _wrong(first["type"], first["loc"], first["msg"]) from None


def _wrong(kind: str, where: Sequence[str | int], why: str) -> Invalid:
    if kind == "json_invalid":
        return Invalid(NO_JSON, field="(body)")
    field = ".".join(map(str, where)) or "(body)"
    return Invalid(f"{field}: {why}", field=field)
