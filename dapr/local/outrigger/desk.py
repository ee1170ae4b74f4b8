"""Asks a running service its operators' routes, beside its sidecar: by invocation they are refused."""

import asyncio
import sys
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Self

import aiohttp

from outrigger.errors import LauncherError
from outrigger.state import RunState, ServiceState

_SECONDS = 60.0  # clearing a large view takes a while


class Refusal(LauncherError):
    """The service answered, and said no."""


class NotThere(LauncherError):
    """The service did not answer."""


@dataclass(frozen=True, slots=True)
class Desk:
    """The operators' side of one service. `desks` opens those of a run."""

    service: str
    url: str
    http: aiohttp.ClientSession

    async def get(self, path: str, **query: str) -> Any:
        """Ask something; raises `Refusal` or `NotThere`."""
        return await self._ask("GET", path, params=query)

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        """Order something; raises `Refusal` or `NotThere`."""
        return await self._ask("POST", path, json=body)

    async def _ask(self, verb: str, path: str, **more: Any) -> Any:
        try:
            async with self.http.request(verb, f"{self.url}/{path}", **more) as answer:
                told = await answer.json(content_type=None)
                if answer.ok:
                    return told
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise NotThere(f"{self.service} does not answer ({error}): see `outrigger status`.") from None
        raise Refusal(str(told.get("detail") or HTTPStatus(answer.status).phrase))


class Desks:
    """The desks of a run, by service. Use it as an async context manager."""

    def __init__(self, run: RunState) -> None:
        """Open nothing yet."""
        self._services: dict[str, ServiceState] = run.firsts  # of several replicas any can be asked

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_SECONDS, connect=2.0))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()

    def one(self, service: str) -> Desk:
        """Return one by its name."""
        if service not in self._services:
            raise LauncherError(f"There is no service {service}; there are {', '.join(sorted(self._services))}.")
        return Desk(service, self._services[service].app_url, self._http)

    async def keepers(self, service: str | None) -> list[Desk]:
        """Return those that keep a ledger: the one that is named, or all; of these, one that is silent is left out."""
        if service:
            return [desk for desk in [self.one(service)] if (await desk.get("status"))["lanes"]]
        desks = [self.one(name) for name in self._services]
        stand = await asyncio.gather(*(_lanes(desk) for desk in desks))
        return [desk for desk, lanes in zip(desks, stand, strict=True) if lanes]


async def _lanes(desk: Desk) -> list[Any]:
    try:
        return (await desk.get("status"))["lanes"]
    except NotThere as silent:
        print(f"outrigger: {desk.service} is left out: {silent}", file=sys.stderr)
        return []
