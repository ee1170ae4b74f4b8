"""Customers who come at a steady rate, whatever becomes of those before them (an open loop), and what they are told.

Each comes on a connection of its own. One who was accepted looks at the order until it has ended.
"""

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self
from uuid import uuid4

import aiohttp

SKUS = ("DRYBAG-10", "BARREL-30", "TENT-2", "KETTLE-1", "MAP-COAST", "PADDLE-ASH")
USERS = 20  # that a new shop knows
RANK = {"pending": 0, "reserved": 1, "confirmed": 2, "cancelled": 2}
ENDED = {"confirmed", "cancelled"}
OK, ACCEPTED = 200, 202
BROKEN = 0  # in place of a status: no answer came
OLD = 110  # in place of a status: an answer that is marked as old, and so may be
AGAIN_AFTER = 0.2  # s until a request that was not answered is repeated
PATIENT = 2.0  # s; who is told to come again waits that long at most: a slow machine would see nothing but repetitions
GLANCES = (0.0, 0.2, 0.4, 0.8, 1.6)  # s until an order is looked at again, at once at first; then always the last
PATIENCE = 30.0  # s for an answer
INSISTS = 60.0  # s for a request, when all is calm
DOOR = "/api/v1/orders"
SHOWN = 20


def registered(number: int) -> str:
    """Name the customer of that number: one whom the shop knows."""
    return f"user-{1 + number % USERS}"


@dataclass(slots=True)
class Placed:
    """An order that was accepted. Times are of the monotonic clock."""

    at: float
    took: float  # s until its acceptance was heard of, since the customer first asked
    number: int = 0  # of its customer
    key: str = ""
    tries: int = 1
    status: str = "pending"
    ended: float | None = None


@dataclass
class Shoppers:
    """A crowd and its notes."""

    url: str
    persistent: bool = True  # whether one who is refused asks again, under the same key
    looking: bool = True  # whether accepted orders are looked at
    door: str = DOOR  # where orders are placed
    called: Callable[[int], str] = registered
    offered: int = 0
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)  # by verb and status
    placed: dict[str, Placed] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)  # what nobody may be told
    shown: list[str] = field(default_factory=list)  # the first failures, in full
    unhinted: int = 0  # refusals that do not say when to come again
    asking: int = 0  # requests for an order that have no answer yet
    _http: aiohttp.ClientSession | None = None
    _tasks: set[asyncio.Task[float]] = field(default_factory=set)

    @classmethod
    @contextlib.asynccontextmanager
    async def at(cls, url: str, *, persistent: bool = True, looking: bool = True, **more: Any) -> AsyncIterator[Self]:
        """Open the doors; at the end nobody is left."""
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=PATIENCE)) as http:
            crowd = cls(url, persistent=persistent, looking=looking, _http=http, **more)
            try:
                yield crowd
            finally:
                await crowd._leave()

    async def come(self, rate: float, until: asyncio.Event, most: float = float("inf")) -> None:
        """Let `rate` customers a second come, on time, until told to end or until there were so many."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        number = 0
        while not until.is_set() and number < most:
            self._send(self._shop(number))
            number += 1
            self.offered += 1
            await asyncio.sleep(max(0.0, began + number / rate - loop.time()))

    async def all_answered(self, within: float) -> int:
        """Wait until nobody waits for an answer to an order; returns how many still do."""
        deadline = time.monotonic() + within
        while self.asking and time.monotonic() < deadline:
            await asyncio.sleep(0.1)
        return self.asking

    async def all_ended(self, within: float) -> list[str]:
        """Wait until every accepted order has ended; returns those that have not in time.

        A customer may be unable to look for longer (a circuit rests for 30 s). Where none saw the end, the order is
        asked for until there is an answer, and says itself when it ended.
        """
        deadline, due = time.monotonic() + within, time.time() + within
        while (left := [name for name, order in self.placed.items() if order.ended is None]) or self.asking:
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(0.1)
        in_time = await asyncio.gather(*(self._ended_by(due, name) for name in left))
        return [name for name, was in zip(left, in_time, strict=True) if not was]

    async def _ended_by(self, due: float, name: str) -> bool:
        status, told = await self._insist("GET", f"{self.door}/{name}")
        if status != OK or told["status"] not in ENDED:
            return False
        self.see(name, self.placed[name], told["status"])
        return datetime.fromisoformat(told["timeline"][-1]["at"]).timestamp() <= due

    async def last_ended(self, count: int, within: float) -> list[str]:
        """Look at the last orders that were accepted until they have ended; returns those that have not in time."""
        last = list(self.placed)[-count:]
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*map(self._look, last)), within)
        return [name for name in last if self.placed[name].ended is None]

    async def once_more(self, names: Iterable[str]) -> None:
        """Ask for these orders under their old keys: the answer is the first one, whatever happened since."""
        for name in names:
            order = self.placed[name]
            status, told = await self._insist("POST", self.door, self._wish(order.number), order.key)
            if status != ACCEPTED or told["orderId"] != name:
                self.wrong.append(f"one key gave {name}, and asked once more {status}: {told}")

    async def look_back(self, names: Iterable[str]) -> None:
        """Look at these orders when all is over: they are there, as they ended."""
        for name in names:
            status, told = await self._insist("GET", f"{self.door}/{name}")
            if status != OK or told["status"] != self.placed[name].status:
                self.wrong.append(f"order {name} was {self.placed[name].status} and in the end {status}: {told}")

    def failures(self) -> dict[str, int]:
        """Count the answers that no customer should get: 5xx, and none at all."""
        return {f"{verb} {status or 'no answer'}": n for (verb, status), n in self.answers.items() if _failed(status)}

    @property
    def stale(self) -> int:
        """Count the answers that were marked as old."""
        return self.answers["GET", OLD]

    def waits(self, percent: int) -> float:
        """Return that percentile of the seconds until an order was accepted."""
        took = sorted(order.took for order in self.placed.values())
        return took[min(len(took) - 1, len(took) * percent // 100)] if took else 0.0

    def _send(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._gone)

    def _gone(self, task: "asyncio.Task[float]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self.wrong.append(repr(error))

    async def _leave(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _shop(self, number: int) -> float:
        order = Placed(time.monotonic(), 0.0, number, str(uuid4()))
        self.asking += 1
        try:
            name = await self._place(order)
        finally:
            self.asking -= 1
        order.took = time.monotonic() - order.at
        if name is None:
            return order.took
        if name in self.placed:
            self.wrong.append(f"two keys gave the order {name}")
        self.placed[name] = order
        if self.looking:
            await self._look(name)
        return order.took

    async def _place(self, order: Placed) -> str | None:
        while True:
            order.tries += 1
            status, told, again_after = await self._ask("POST", self.door, self._wish(order.number), order.key)
            if status == ACCEPTED:
                return told["orderId"]
            if not _failed(status):
                self.wrong.append(f"an order was answered {status}: {told}")
            if not (self.persistent and _failed(status)):
                return None
            await asyncio.sleep(again_after)

    def _wish(self, number: int) -> dict[str, Any]:
        item = {"sku": SKUS[number % len(SKUS)], "quantity": 1}
        return {"userId": self.called(number), "items": [item]}

    async def _look(self, name: str) -> None:
        order, glance = self.placed[name], 0
        while order.ended is None:
            await asyncio.sleep(GLANCES[min(glance, len(GLANCES) - 1)])
            glance += 1
            status, told, _ = await self._ask("GET", f"{self.door}/{name}")
            if status == OK:
                self.see(name, order, told["status"])
            elif not _failed(status) and status != OLD:
                self.wrong.append(f"the accepted order {name} was answered {status}")

    def see(self, name: str, order: Placed, status: str) -> None:
        """Note what an order is shown as."""
        back = RANK[status] < RANK[order.status] or (order.status in ENDED and status != order.status)
        if back:
            self.wrong.append(f"order {name} went from {order.status} back to {status}")
        order.status = status
        if status in ENDED:
            order.ended = time.monotonic()

    async def _insist(self, verb: str, path: str, body: Any = None, key: str = "") -> tuple[int, Any]:
        """Ask until there is an answer, and a new one, for as long as a circuit may be open."""
        deadline = time.monotonic() + INSISTS
        while True:
            status, told, again_after = await self._ask(verb, path, body, key)
            if not (_failed(status) or status == OLD) or time.monotonic() > deadline:
                return status, told
            await asyncio.sleep(again_after)

    async def _ask(self, verb: str, path: str, body: Any = None, key: str = "") -> tuple[int, Any, float]:
        """Return status, body, and when to ask again if that was a failure."""
        assert self._http
        again_after = AGAIN_AFTER
        headers = {"Idempotency-Key": key} if key else {}
        try:
            async with self._http.request(verb, f"{self.url}{path}", json=body, headers=headers) as answer:
                told, status = _read(await answer.text()), answer.status
                if hint := answer.headers.get("retry-after"):
                    again_after = min(float(hint), PATIENT)
                self.unhinted += _failed(status) and not hint
                status = OLD if "warning" in answer.headers else status
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            told, status = repr(error), BROKEN
        self.answers[verb, status] += 1
        if _failed(status) and len(self.shown) < SHOWN:
            self.shown.append(f"{time.strftime('%H:%M:%S')} {verb} {path} {status or 'no answer'} {told}")
        return status, told, again_after


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _failed(status: int) -> bool:
    return status == BROKEN or status >= 500
