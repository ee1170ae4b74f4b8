"""Twice as many orders as can be taken, for a minute: some are refused, nothing piles up, and then all is as before."""

import asyncio
import json
import os
import subprocess
import sys
import time

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
BETTER_WITHIN = 5.0
SLOWER = 20  # times: the machine is still busy with what was accepted
FLAT = 1.2


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
    await asyncio.wait({looking, coming}, timeout=SECONDS)
    enough.set()
    await coming
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)
    return watch


async def until_as_before(crowd: Shoppers, before: float) -> float:
    """Wait until an order is accepted about as fast as when all was calm; returns the seconds that took."""
    began = time.monotonic()
    while (now := await crowd.calm(3)) > SLOWER * before:
        assert time.monotonic() - began < 60, f"an order still takes {now:.2f} s, {before:.3f} s before"
    return time.monotonic() - began


async def test_too_many_are_refused_and_nothing_piles_up(system: Installation, tell: Tell) -> None:
    url = f"http://127.0.0.1:{system.port}"
    async with Shoppers.at(url, looking=False) as calm:
        before = await calm.calm(20)
    rate = 2 * await asyncio.to_thread(saturation, system.port)
    async with Shoppers.at(url, persistent=False, looking=False) as crowd:
        watch = await overload(system, crowd, rate)
        while crowd.asking:
            await asyncio.sleep(0.01)
        refused = crowd.failures()
    async with Shoppers.at(url, looking=False) as calm:
        better = await until_as_before(calm, before)
    tell(f"saturated at {rate / 2:.0f} orders/s; offered {crowd.offered / SECONDS:.0f}/s for {SECONDS:.0f} s")
    waits = f"p50 {crowd.waits(50):.2f} s, p99 {crowd.waits(99):.2f} s"
    tell(f"accepted {len(crowd.placed) / SECONDS:.0f}/s after {waits}; refused {refused}")
    for figure in (QUEUED, BACKLOG):
        most = {name: int(most) for (name, kind), most in watch.most.items() if kind == figure}
        tell(f"most of {figure}: {most}")
    tell(f"memory, second half by first: { {name: round(ratio, 2) for name, ratio in watch.growth().items()} }")
    tell(f"as before {better:.1f} s after the end")
    assert crowd.offered > 1.2 * rate / 2 * SECONDS, "no more came than can be taken"
    assert set(refused) == {"POST 503"}, "\n".join(crowd.shown)
    assert crowd.unhinted == 0
    assert not crowd.wrong, crowd.wrong
    limits = Settings()
    assert max(most for (_, figure), most in watch.most.items() if figure == QUEUED) < limits.queue_items
    assert max(most for (_, figure), most in watch.most.items() if figure == BACKLOG) < limits.backlog_records
    assert max(watch.growth().values()) < FLAT, watch.growth()
    assert better < BETTER_WITHIN
    created = [e for e in (await asyncio.to_thread(system.ledger, "orders")).events if e["eventType"] == "OrderCreated"]
    assert crowd.placed.keys() <= {event["payload"]["orderId"] for event in created}
