"""Every app and every sidecar is told to end, under load, by one SIGTERM: nobody is told of it by a failure."""

import asyncio
import os
import signal
import time
from typing import Any

import pytest

from support.installation import Installation
from support.letters import dead_letters
from verify.conftest import Tell
from verify.shoppers import Shoppers

pytestmark = [pytest.mark.verify, pytest.mark.timeout(600)]

RATE = 20.0
BETWEEN = 1.0  # s of undisturbed load


async def leave(system: Installation, name: str) -> None:
    """Ask a process to end, and wait until its successor serves."""
    before = system.state_of(name)
    assert before.pid
    os.kill(before.pid, signal.SIGTERM)
    async with asyncio.timeout(60):
        while system.state_of(name).pid in {before.pid, None} or not await asyncio.to_thread(system.serving):
            await asyncio.sleep(0.1)


def letters(system: Installation) -> list[dict[str, Any]]:
    return dead_letters(system, "list")


async def test_an_orderly_restart_of_anything_costs_nobody_a_failure(system: Installation, tell: Tell) -> None:
    services, before = list(system.run.services), letters(system)
    async with Shoppers.at(f"http://127.0.0.1:{system.port}") as crowd:
        enough = asyncio.Event()
        coming = asyncio.create_task(crowd.come(RATE, enough))
        await asyncio.sleep(BETWEEN)
        steps: list[tuple[str, float, float]] = []
        for name in (*(f"{service}.app" for service in services), *(f"{service}.daprd" for service in services)):
            began = time.monotonic()
            await leave(system, name)
            await asyncio.sleep(BETWEEN)
            steps.append((name, began, time.monotonic()))
        enough.set()
        await coming
        left = await crowd.all_ended(60)
    for name, began, until in steps:
        longest = max(order.took for order in crowd.placed.values() if began <= order.at < until)
        tell(f"{name:20} {until - began - BETWEEN:5.1f} s; longest wait of a customer {longest:.2f} s")
    buried = [letter for letter in letters(system) if letter not in before]
    tell(f"{len(crowd.placed)} orders accepted after p50 {crowd.waits(50):.3f} s, p99 {crowd.waits(99):.2f} s")
    tell(f"failures {crowd.failures()}, dead letters {len(buried)}")
    assert crowd.failures() == {}, "\n".join(crowd.shown)
    assert not crowd.wrong, crowd.wrong
    assert not left
    assert not buried, buried
