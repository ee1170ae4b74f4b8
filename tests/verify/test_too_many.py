"""Twice as many orders as can be taken, for a minute: some are refused, nothing piles up, and then all is as before."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from statistics import median

import pytest

from chassis.process import Settings
from support.installation import REPOSITORY, Installation
from verify.conftest import Tell
from verify.shoppers import SKUS, USERS, Shoppers
from verify.watch import BACKLOG, QUEUED, Watch

pytestmark = [pytest.mark.verify, pytest.mark.timeout(560)]

SECONDS = 60.0
FIND_OUT = 10  # s
CLIENTS = 64
FEW = 5.0  # orders a second, before and afterwards
BETTER_WITHIN = 5  # s
LOOK_ON = 10  # s
SLOWER = 3  # times as before: the machine is still busy with what was accepted
FLAT = 1.2
UNANSWERED = 0.01  # of all: 504, where the machine is so slow that an answer comes after the sidecar's time-out


def saturation(port: int) -> float:
    """Return the orders a second that are accepted from clients each of whom waits for an answer (a closed loop)."""
    items = [[{"sku": SKUS[number % len(SKUS)], "quantity": 1}] for number in range(60)]
    orders = [{"userId": f"user-{1 + number % USERS}", "items": some} for number, some in enumerate(items)]
    how = ("--clients", str(CLIENTS), "--seconds", str(FIND_OUT))
    path = ("--path", "/api/v1/orders", "--port", str(port))
    done = subprocess.run(
        [sys.executable, "-m", "load.generator", "--keys", *path, *how],
        input="\n".join(map(json.dumps, orders)), env={**os.environ, "PYTHONPATH": str(REPOSITORY / "tests")},
        capture_output=True, text=True, timeout=FIND_OUT + 40, check=True,
    )  # fmt: skip
    told = json.loads(done.stdout)
    assert told["accepted"], told
    return told["accepted"] / told["seconds"]


async def overload(system: Installation, crowd: Shoppers, rate: float) -> Watch:
    """Let too many come, and watch."""
    watch, enough = Watch(), asyncio.Event()
    looking = asyncio.create_task(watch.look(system))
    coming = asyncio.create_task(crowd.come(rate, enough))
    await asyncio.wait({looking, coming}, timeout=SECONDS, return_when=asyncio.FIRST_COMPLETED)
    enough.set()
    await coming
    looking.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await looking
    return watch


async def few(url: str) -> list[tuple[float, float]]:
    """Let few come; returns of each when it came and in how many seconds its order was accepted, whatever it took."""
    began = time.monotonic()
    async with Shoppers.at(url, looking=False) as crowd:
        enough = asyncio.Event()
        coming = asyncio.create_task(crowd.come(FEW, enough))
        await asyncio.wait({coming}, timeout=LOOK_ON)
        enough.set()
        await coming
        while crowd.asking:
            await asyncio.sleep(0.01)
    assert not crowd.wrong, crowd.wrong
    return [(order.at - began, order.took) for order in crowd.placed.values()]


def usual(orders: list[tuple[float, float]], since: float = 0, until: float = LOOK_ON) -> float:
    """Return the median of the seconds until the orders of that time were accepted."""
    return median(took for at, took in orders if since <= at < until)


async def test_too_many_are_refused_and_nothing_piles_up(system: Installation, tell: Tell) -> None:
    url = f"http://127.0.0.1:{system.port}"
    before = usual(await few(url))
    rate = 2 * await asyncio.to_thread(saturation, system.port)
    async with Shoppers.at(url, persistent=False, looking=False) as crowd:
        watch = await overload(system, crowd, rate)
        after = await few(url)
        while crowd.asking:
            await asyncio.sleep(0.01)
    refused = crowd.failures()
    tell(f"saturated at {rate / 2:.0f} orders/s; offered {crowd.offered / SECONDS:.0f}/s for {SECONDS:.0f} s")
    waits = f"p50 {crowd.waits(50):.2f} s, p99 {crowd.waits(99):.2f} s"
    tell(f"accepted {len(crowd.placed) / SECONDS:.0f}/s after {waits}; refused {refused}")
    for figure in (QUEUED, BACKLOG):
        most = {name: int(most) for (name, kind), most in watch.most.items() if kind == figure}
        tell(f"most of {figure}: {most}")
    tell(f"memory, second half by first: { {name: round(ratio, 2) for name, ratio in watch.growth().items()} }")
    slower = usual(after, since=BETTER_WITHIN) / before
    seconds = ", ".join(f"{usual(after, second, second + 1) / before:.1f}" for second in range(LOOK_ON))
    tell(
        f"an order took {before:.3f} s before; {seconds} times as long in the seconds after the end, then {slower:.1f}"
    )
    assert crowd.offered > 1.2 * rate / 2 * SECONDS, "no more came than can be taken"
    assert set(refused) <= {"POST 503", "POST 504"}, "\n".join(crowd.shown)
    assert refused["POST 503"] > 0
    assert refused.get("POST 504", 0) < UNANSWERED * crowd.offered
    assert crowd.unhinted == 0
    assert not crowd.wrong, crowd.wrong
    limits = Settings()
    assert 0 < max(most for (_, figure), most in watch.most.items() if figure == QUEUED) < limits.queue_items
    assert 0 < max(most for (_, figure), most in watch.most.items() if figure == BACKLOG) < limits.backlog_records
    assert max(watch.growth().values()) < FLAT, watch.growth()
    assert slower < SLOWER
    created = [e for e in (await asyncio.to_thread(system.ledger, "orders")).events if e["eventType"] == "OrderCreated"]
    assert crowd.placed.keys() <= {event["payload"]["orderId"] for event in created}
