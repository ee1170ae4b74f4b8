"""What is refused before anything is parsed: addresses and headers longer than any honest client's.

The bound on bodies is the chassis's; here it is only set (`main.py`). httptools, unlike h11, bounds no headers.
"""

from http import HTTPStatus

from starlette.types import ASGIApp, Receive, Scope, Send

from chassis.http.bodies import rendered
from chassis.problems import Problem, TooLarge

ADDRESS_BYTES = 2048  # path and query
HEADER_BYTES = 16 * 1024  # all of them


class AddressTooLong(TooLarge):
    """The path and query are longer than any of ours."""

    status = HTTPStatus.REQUEST_URI_TOO_LONG


class HeadersTooLarge(TooLarge):
    """The headers are larger than this service takes."""

    status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE


class Bounds:
    """Every request passes here first."""

    def __init__(self, app: ASGIApp) -> None:
        """`app` is what comes behind."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on."""
        refusal = _refusal(scope) if scope["type"] == "http" else None
        await (rendered(refusal) if refusal else self._app)(scope, receive, send)


def _refusal(scope: Scope) -> Problem | None:
    if len(scope["raw_path"]) + len(scope["query_string"]) > ADDRESS_BYTES:
        return AddressTooLong(f"the address is longer than {ADDRESS_BYTES} bytes; see /docs")
    if sum(len(name) + len(value) for name, value in scope["headers"]) > HEADER_BYTES:
        return HeadersTooLarge(f"the headers are larger than {HEADER_BYTES} bytes; send fewer cookies")
    return None
