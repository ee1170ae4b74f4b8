"""`outrigger order`: places orders, a bounded number at a time, and sees them to their end."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import aiohttp

from outrigger.edge import ENDED, Busy, Edge
from outrigger.errors import LauncherError

AT_ONCE = 32
_FIRST_LOOK, _LONGEST_LOOK = 0.02, 0.5  # s between two looks at an order: it grows with its age
_PAUSE = 0.3  # s before a request that found no room is repeated


@dataclass(slots=True)
class Tally:
    """How the orders ended. `latencies` are seconds from the request to the end, as a client sees it."""

    ended: Counter[str] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        """Return what `--json` prints; latencies in milliseconds, null where nothing ended."""
        return {
            "confirmed": self.ended["confirmed"],
            "cancelled": self.ended["cancelled"],
            "open": self.ended["open"],
            "latency_ms": {"p50": percentile(self.latencies, 50), "p99": percentile(self.latencies, 99)},
        }


def percentile(seconds: list[float], percent: int) -> float | None:
    """Return the nearest-rank percentile in milliseconds; None of nothing."""
    if not seconds:
        return None
    rank = max(1, -(-len(seconds) * percent // 100))
    return round(sorted(seconds)[rank - 1] * 1000, 1)


async def place_orders(
    url: str, *, count: int, wait: bool, within: float, each: Callable[[], None] = lambda: None
) -> Tally:
    """Place `count` orders of one or two pieces, spread over the catalogue; with `wait` until each has ended.

    What has not ended `within` that many seconds counts as open. `each` is called for every order that is done with.
    """
    tally, room = Tally(), asyncio.Semaphore(AT_ONCE)
    async with Edge.at(url) as edge:
        products = await _catalogue(edge)
        deadline = time.monotonic() + within

        async def one(number: int) -> None:
            async with room:
                sku = products[number % len(products)]["sku"]
                await _one(
                    edge,
                    {"userId": "user-1", "items": [{"sku": sku, "quantity": 1 + number % 2}]},
                    tally,
                    wait,
                    deadline,
                )
            each()

        async with asyncio.TaskGroup() as group:
            for number in range(count):
                group.create_task(one(number))
    return tally


async def _one(edge: Edge, order: dict[str, Any], tally: Tally, wait: bool, deadline: float) -> None:
    began = time.monotonic()
    order_id = await _placed(edge, order, deadline)
    status = await _end_of(edge, order_id, deadline) if order_id and wait else None
    tally.ended[status or "open"] += 1
    if status:
        tally.latencies.append(time.monotonic() - began)


async def _placed(edge: Edge, order: dict[str, Any], deadline: float) -> str | None:
    """Place it, again under the same key while there is no room for it; None when time is up."""
    key = str(uuid4())
    while time.monotonic() < deadline:
        try:
            return await edge.place(order, key)
        except Busy:
            await asyncio.sleep(_PAUSE)
    return None


async def _end_of(edge: Edge, order_id: str, deadline: float) -> str | None:
    """Look at an order until it has ended; None when time is up."""
    pause = _FIRST_LOOK
    while time.monotonic() < deadline:
        await asyncio.sleep(pause)
        pause = min(pause * 1.3, _LONGEST_LOOK)
        try:
            if (status := await edge.status(order_id)) in ENDED:
                return status
        except Busy:
            continue
    return None


async def _catalogue(edge: Edge) -> list[dict[str, Any]]:
    try:
        products = await edge.products()
    except (aiohttp.ClientError, TimeoutError, Busy) as error:
        raise LauncherError(f"The gateway at {edge.url} does not answer ({error}): see `outrigger status`.") from error
    if not products:
        raise LauncherError("The catalogue is empty: there is nothing to order.")
    return products
