"""`make swap-test`: 5,000 orders while the broker is swapped three times and wiped once; its figures go to docs."""

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from brokers.whole import ORDER_DEADLINE, pids_of, require, running_on
from simulation import report
from support.installation import Installation
from verify.shoppers import Shoppers

pytestmark = [pytest.mark.swaps, pytest.mark.timeout(1500)]

RATE = float(os.environ.get("SWAP_RATE", "50"))  # orders a second
ORDERS = 5_000
CHANGES = ("rabbitmq", "kafka", "wipe", "redis")
QUIET_WITHIN = 300.0


async def come(crowd: Shoppers, done: asyncio.Event) -> None:
    """Let customers come until there were enough of them, and all changes are done."""
    enough = asyncio.Event()
    coming = asyncio.create_task(crowd.come(RATE, enough))
    while not (done.is_set() and crowd.offered >= ORDERS):
        await asyncio.sleep(0.05)
    enough.set()
    await coming


async def change(system: Installation, what: str) -> dict[str, Any]:
    """Swap the broker, or wipe it; returns what that told."""
    argv = ("wipe-broker",) if what == "wipe" else ("swap", "--broker", what, "--json")
    began = time.monotonic()
    done = await asyncio.to_thread(system.outrigger, *argv, within=900)
    assert done.returncode == 0, done.stderr
    told = {} if what == "wipe" else json.loads(done.stdout)
    return {"what": what, "seconds": time.monotonic() - began, **told}


async def changes(system: Installation, crowd: Shoppers) -> list[dict[str, Any]]:
    """Make all changes, each when its share of the orders has come."""
    told = []
    for number, what in enumerate(CHANGES):
        while crowd.offered < ORDERS * (number + 0.5) / len(CHANGES):
            await asyncio.sleep(0.05)
        told.append(await change(system, what))
    return told


def line(told: dict[str, Any]) -> str:
    if told["what"] == "wipe":
        return f"wiped: empty and serving again after {told['seconds']:.1f} s"
    quiet = "not quiet in time" if told["quiet"] is None else f"quiet after {told['quiet']:.1f} s"
    figures = f"publishes retried {told['retried']}, events repaired {told['repaired']}, {quiet}"
    again = f"; started again: {', '.join(told['restarted'])}" if told["restarted"] else ""
    return f"{told['before']} -> {told['after']}: taken after {told['taken']:.1f} s, {figures}{again}"


async def test_orders_come_in_while_the_broker_goes_from_one_to_the_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_on(tmp_path, "redis", "sqlite") as system:
        for broker in ("rabbitmq", "kafka"):
            require(system, broker, "sqlite")
        before, done = pids_of(system), asyncio.Event()
        async with Shoppers.at(f"http://127.0.0.1:{system.port}", looking=False) as crowd:
            coming = asyncio.create_task(come(crowd, done))
            told = await changes(system, crowd)
            done.set()
            await coming
            while crowd.asking:
                await asyncio.sleep(0.05)
        found = await asyncio.to_thread(system.audit, deadline=2 * ORDER_DEADLINE, within=QUIET_WITHIN)
        after = pids_of(system)
    verdict = "clean" if found["clean"] else f"{len(found['violations'])} violations"
    lines = [
        f"{len(crowd.placed)} orders accepted at {RATE:.0f}/s; their ends: {found['orders']}; audit: {verdict}",
        f"accepted after p50 {crowd.waits(50):.2f} s, p99 {crowd.waits(99):.2f} s; failures {crowd.failures()}",
        *map(line, told),
    ]
    with capsys.disabled():
        sys.stdout.write("\n" + "\n".join(lines) + "\n")
    assert not crowd.wrong, crowd.wrong
    assert found["clean"], "\n".join(found["violations"])
    ended = sum(count for end, count in found["orders"].items() if end != "open")
    assert ended == len(crowd.placed) >= ORDERS
    assert [each["restarted"] for each in told if "restarted" in each] == [[]] * 3
    assert after == before
    if "VERIFY_WRITES" in os.environ:
        head = f"Run of {report.today()}, {os.cpu_count()} cores, beside other work:"
        report.write("swaps", [head, "", "```", *lines, "```"])
