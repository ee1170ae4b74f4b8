"""One measurement: drive a contender, wait for the effects of every accepted order, add up what it cost."""

import asyncio
import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from inventory.catalogue import catalogue
from load.contenders import Contender
from load.effects import Streams, stored
from load.stage import Broken, Place, Stage
from users.people import people

LINES = 2  # of an order
PLENTY = 1_000_000  # pieces
SETTLE_SECONDS = 90.0
LOOK_SECONDS = 0.2  # between two counts of effects: a count reads every order, on the cores that are measured
CLIENTS = 64


@dataclass(frozen=True, slots=True)
class Result:
    """Rates count from the first request to the last effect. CPU is in seconds an order, by process."""

    name: str
    orders: int
    per_second: float
    p50_ms: float
    p99_ms: float
    lag: float  # seconds from the last answer to the last effect
    cpu: Mapping[str, float]
    neighbours: float  # cores that others used meanwhile


@dataclass(frozen=True, slots=True)
class Effect:
    """A count that must grow by one with every accepted order."""

    what: str
    count: Callable[[], int]


def bodies() -> bytes:
    """Make the requests, one a line: the products in turn that never run out, some lines an order."""
    users = [person.user_id for person in people()]
    skus = [product.sku for product in catalogue() if product.stock >= PLENTY]
    lines = [[skus[(n + k) % len(skus)] for k in range(LINES)] for n in range(len(skus))]
    orders = [
        {"userId": users[n % len(users)], "items": [{"sku": sku, "quantity": 1} for sku in line]}
        for n, line in enumerate(lines)
    ]
    return "\n".join(json.dumps(order) for order in orders).encode()


async def generate(place: Place, root: Path, *, seconds: float, count: int = 1_000_000) -> dict[str, Any]:
    """Run the load generator; raises `Broken` unless every order was accepted."""
    argv = [sys.executable, "-m", "load.generator", "--port", str(place.ports.app), "--clients", str(CLIENTS)]
    argv += [
        "--path",
        place.contender.path,
        "--seconds",
        str(seconds),
        "--count",
        str(count),
        *(["--keys"] if place.contender.keys else []),
    ]
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(*argv, cwd=root / "tests", stdin=pipe, stdout=pipe)
    out, _ = await child.communicate(bodies())
    if child.returncode:
        raise Broken(f"the load generator failed on {place.contender.name}")
    said = json.loads(out)
    if said["refused"] or said["broken"]:
        raise Broken(f"{place.contender.name} did not accept every order: {said}")
    return said


async def measure(stage: Stage, name: str, *, seconds: float, count: int = 1_000_000, status: str = "") -> Result:
    """Drive one contender. With `status` an order counts when its document has that status, not when it exists."""
    place = stage.places[name]
    streams = Streams(stage.broker_port)
    effects = effects_of(stage, place.contender, streams, status)
    before = [effect.count() for effect in effects]
    cpu, busy, began = _cpu(stage), _busy(), time.monotonic()
    said = await generate(place, stage.home.root, seconds=seconds, count=count)
    lag = await _settled(effects, before, said["accepted"])
    spent = {k: v - cpu[k] for k, v in _cpu(stage).items()} | {"clients": said["cpu_seconds"]}
    others = (_busy() - busy - sum(spent.values())) / (time.monotonic() - began)
    streams.close()
    orders = said["accepted"]
    costs = {process: total / orders for process, total in spent.items()}
    rate = orders / (said["seconds"] + lag)
    return Result(name, orders, rate, said["p50_ms"], said["p99_ms"], lag, costs, max(others, 0.0))


def effects_of(stage: Stage, contender: Contender, streams: Streams, status: str) -> list[Effect]:
    """Return what an accepted order must leave: a document, and an event in the broker."""
    effects = []
    if prefix := contender.stored:
        effects.append(Effect(status or "stored", lambda: stored(stage.database(contender), prefix, status or None)))
    if topic := contender.topic:
        effects.append(Effect("published", lambda: streams.published(topic)))
    return effects


async def _settled(effects: list[Effect], before: list[int], orders: int) -> float:
    """Wait until every order had every effect; returns the seconds that it took. Raises `Broken` for lost orders."""
    began = time.monotonic()
    for effect, start in zip(effects, before, strict=True):
        while (missing := orders - (effect.count() - start)) > 0:
            if time.monotonic() - began > SETTLE_SECONDS:
                raise Broken(f"{missing} of {orders} orders were answered, but not {effect.what}")
            await asyncio.sleep(LOOK_SECONDS)
    return time.monotonic() - began


def _cpu(stage: Stage) -> dict[str, float]:
    return {name: sum(process.cpu_times()[:2]) for name, process in stage.processes().items()}


def _busy() -> float:
    times = psutil.cpu_times()
    return sum(times) - times.idle - getattr(times, "iowait", 0.0)
