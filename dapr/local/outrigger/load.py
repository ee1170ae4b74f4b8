"""`outrigger order`: places orders, a bounded number at a time, and sees them to their end."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from outrigger.edge import ENDED, Busy, Edge
from outrigger.errors import LauncherError

AT_ONCE = 32
_FIRST_LOOK, _LONGEST_LOOK = 0.02, 0.5  # s between two looks at an order: it grows with its age
_PAUSE = 0.3  # s before a request that found no room is repeated
_USERS = 20  # that a new shop knows: user-1 and so on
_MOST = 100  # pieces of a product in one order
_SECOND_THOUGHTS = (0.0, 0.05, 0.1, 0.2, 0.5)  # s until a customer cancels: some orders are still pending then


@dataclass(frozen=True, slots=True)
class Moods:
    """How many in a hundred customers cancel, and how many order more than there is; spread evenly."""

    cancel: int = 0
    reject: int = 0

    def of(self, number: int) -> str:
        """Return what the customer with this number does: `cancel`, `reject` or `buy`."""
        place = number * 37 % 100  # every place once in a hundred
        return "cancel" if place < self.cancel else "reject" if place < self.cancel + self.reject else "buy"


@dataclass(frozen=True, slots=True)
class Goods:
    """What can be ordered: products of which there is plenty, and those of which no hundred are left."""

    plenty: Sequence[str]
    scarce: Sequence[str]

    @classmethod
    def of(cls, products: Sequence[dict[str, Any]]) -> "Goods":
        """Sort the catalogue; if all is scarce, whatever there is."""
        plenty = [product["sku"] for product in products if product["available"] >= _MOST]
        scarce = [product["sku"] for product in products if product["available"] < _MOST]
        return cls(plenty or scarce, scarce)

    def order(self, number: int, mood: str) -> dict[str, Any]:
        """Write an order, of one or two pieces or of more than there is."""
        reject = mood == "reject"
        skus, quantity = (self.scarce, _MOST) if reject else (self.plenty, 1 + number % 2)
        item = {"sku": skus[number % len(skus)], "quantity": quantity}
        return {"userId": f"user-{1 + number % _USERS}", "items": [item]}


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
    url: str, *, count: int, wait: bool, within: float, moods: Moods | None = None,
    each: Callable[[], None] = lambda: None,
) -> Tally:  # fmt: skip
    """Place `count` orders, spread over customers and the catalogue; with `wait` until each has ended.

    What has not ended `within` that many seconds counts as open. `each` is called for every order that is done with.
    """
    tally, room, moods = Tally(), asyncio.Semaphore(AT_ONCE), moods or Moods()
    async with Edge.at(url) as edge:
        deadline = time.monotonic() + within
        goods = Goods.of(await _catalogue(edge, deadline))
        if moods.reject and not goods.scarce:
            raise LauncherError("There is plenty of everything, so no order can be made to fail for lack of stock.")

        async def one(number: int) -> None:
            mood = moods.of(number)
            second_thought = _SECOND_THOUGHTS[number % len(_SECOND_THOUGHTS)] if mood == "cancel" else None
            async with room:
                await _one(edge, goods.order(number, mood), tally, second_thought, wait=wait, deadline=deadline)
            each()

        await _all_or_first_fault([one(number) for number in range(count)])
    return tally


async def _all_or_first_fault(works: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Run all at once; the first that fails ends the others, and its error is raised as it is, not in a group."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _one(
    edge: Edge, order: dict[str, Any], tally: Tally, second_thought: float | None, *, wait: bool, deadline: float
) -> None:
    began = time.monotonic()
    order_id = await _placed(edge, order, deadline)
    if order_id and second_thought is not None:
        await asyncio.sleep(second_thought)
        await _cancelled(edge, order_id, deadline)
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


async def _cancelled(edge: Edge, order_id: str, deadline: float) -> None:
    key = str(uuid4())
    while time.monotonic() < deadline:
        try:
            await edge.cancel(order_id, key)
        except Busy:
            await asyncio.sleep(_PAUSE)
        else:
            break


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


async def _catalogue(edge: Edge, deadline: float) -> list[dict[str, Any]]:
    """Read what can be ordered, again while there is no answer."""
    while True:
        try:
            if products := await edge.products():
                return products
        except Busy as error:
            if time.monotonic() > deadline:
                raise LauncherError(f"{edge.url} does not answer ({error}): see `outrigger status`.") from error
            await asyncio.sleep(_PAUSE)
        else:
            raise LauncherError("The catalogue is empty: there is nothing to order.")
