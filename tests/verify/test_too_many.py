"""Twice as many orders as can be taken, for a minute: some are refused, nothing piles up, and then all is as before."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys

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
BETTER_WITHIN = 5.0  # s
SOONER = 4  # times, than in the overload; the machine is still busy with what it accepted
LAST, END_WITHIN = 50, 60.0  # orders of the overload, and the seconds in which they end
FLAT = 1.2
UNANSWERED = 0.03  # of all: 504, where the machine is so slow that an answer comes after the sidecar's time-out


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


async def few(url: str) -> Shoppers:
    """Let few come for a while; returns their notes once each order is accepted, whatever it took."""
    async with Shoppers.at(url, looking=False) as crowd:
        enough = asyncio.Event()
        coming = asyncio.create_task(crowd.come(FEW, enough))
        await asyncio.wait({coming}, timeout=BETTER_WITHIN)
        enough.set()
        await coming
        while crowd.asking:
            await asyncio.sleep(0.01)
    assert not crowd.wrong, crowd.wrong
    return crowd


async def test_too_many_are_refused_and_nothing_piles_up(system: Installation, tell: Tell) -> None:
    url = f"http://127.0.0.1:{system.port}"
    before = await few(url)
    rate = 2 * await asyncio.to_thread(saturation, system.port)
    async with Shoppers.at(url, persistent=False, looking=False) as crowd:
        watch = await overload(system, crowd, rate)
        first = asyncio.create_task(few(url))
        await asyncio.wait({first}, timeout=BETTER_WITHIN)
        soon, busy = await few(url), await first
        while crowd.asking:
            await asyncio.sleep(0.01)
        refused = crowd.failures()
        left = await crowd.last_ended(LAST, END_WITHIN)
    later = await few(url)
    tell(f"saturated at {rate / 2:.0f} orders/s; offered {crowd.offered / SECONDS:.0f}/s for {SECONDS:.0f} s")
    waits = f"p50 {crowd.waits(50):.2f} s, p99 {crowd.waits(99):.2f} s"
    tell(f"accepted {len(crowd.placed) / SECONDS:.0f}/s after {waits}; refused {refused}")
    for figure in (QUEUED, BACKLOG):
        most = {name: int(most) for (name, kind), most in watch.most.items() if kind == figure}
        tell(f"most of {figure}: {most}")
    tell(f"memory, second half by first: { {name: round(ratio, 2) for name, ratio in watch.growth().items()} }")
    waits = f"{busy.waits(50):.3f} s in the first {BETTER_WITHIN} s after the end, {soon.waits(50):.3f} s in the next"
    tell(f"an order of few took {before.waits(50):.3f} s before, {waits}, {later.waits(50):.3f} s when all had ended")
    tell(f"failures in these times: {busy.failures()}, {soon.failures()}, {later.failures()}")
    assert crowd.offered > 1.2 * rate / 2 * SECONDS, "no more came than can be taken"
    assert set(refused) <= {"POST 503", "POST 504"}, "\n".join(crowd.shown)
    assert "POST 503" in refused
    assert refused.get("POST 504", 0) < UNANSWERED * crowd.offered
    assert crowd.unhinted == 0
    assert not crowd.wrong, crowd.wrong
    limits = Settings()
    assert 0 < max(most for (_, figure), most in watch.most.items() if figure == QUEUED) < limits.queue_items
    assert 0 < max(most for (_, figure), most in watch.most.items() if figure == BACKLOG) < limits.backlog_records
    assert max(watch.growth().values()) < FLAT, watch.growth()
    assert soon.failures() == {}
    assert soon.waits(50) * SOONER < crowd.waits(50)
    assert not left, left
    assert later.failures() == {}
    created = [e for e in (await asyncio.to_thread(system.ledger, "orders")).events if e["eventType"] == "OrderCreated"]
    assert crowd.placed.keys() <= {event["payload"]["orderId"] for event in created}
