"""Everything is killed, again and again, while orders come in: what was accepted ends, once, and nobody is misled."""

import asyncio
import contextlib
import itertools
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from support.installation import Installation, serving
from verify import commits
from verify.conftest import Tell
from verify.shoppers import Shoppers

pytestmark = [pytest.mark.verify, pytest.mark.timeout(420)]

RATE, SECONDS = 20.0, 60.0
TIMES = 2  # that each is killed
AWAY = 2  # at most at once: on a slow machine the kills take longer, instead of leaving nobody there
WARM_UP = 3.0
AIMED = 0.5  # s to wait for a commit
COMMITS = {
    "gateway": "orders",
    "valkey": "orders",
    "bank": "payments",
}  # whose commits they are part of, if not their own
END_WITHIN = 30.0


def roles(system: Installation) -> list[str]:
    """Name everything that takes part; Zipkin only looks on."""
    return [state.name for state in system.run.processes() if state.name != "zipkin"]


def store(system: Installation, role: str) -> Path:
    service = role.partition(".")[0]
    return system.home.data / f"{COMMITS.get(service, service)}.db"


def kill(system: Installation, role: str) -> bool:
    """Kill it in the middle of a commit, if there is one soon; tells whether there was."""
    process = system.state_of(role).process()
    assert process
    file = store(system, role)
    aimed = commits.met(lambda: commits.in_file(file), AIMED)
    with contextlib.suppress(psutil.NoSuchProcess):
        process.kill()
    return aimed


def alive(system: Installation, role: str) -> bool:
    return system.state_of(role).process() is not None


def serves(system: Installation, role: str) -> bool:
    service = system.run.services.get(role.partition(".")[0])
    return alive(system, role) and (service is None or serving(service))


async def until(condition: Callable[[Installation, str], bool], system: Installation, role: str) -> None:
    async with asyncio.timeout(60):
        while not await asyncio.to_thread(condition, system, role):
            await asyncio.sleep(0.02)


async def test_whatever_is_killed_every_accepted_order_ends_once(system: Installation, tell: Tell) -> None:
    url = f"http://127.0.0.1:{system.port}"
    kills: Counter[str] = Counter()
    aimed: Counter[str] = Counter()
    async with Shoppers.at(url) as crowd:
        enough = asyncio.Event()
        coming = asyncio.create_task(crowd.come(RATE, enough))
        began = time.monotonic()
        moments = list(itertools.chain(*[roles(system)] * TIMES))
        for number, role in enumerate(moments):
            moment = began + WARM_UP + number * (SECONDS - 2 * WARM_UP) / len(moments)
            await asyncio.sleep(max(0.0, moment - time.monotonic()))
            if number >= AWAY:
                await until(serves, system, moments[number - AWAY])
            await until(alive, system, role)
            aimed[role] += await asyncio.to_thread(kill, system, role)
            kills[role] += 1
        await asyncio.sleep(max(0.0, began + SECONDS - time.monotonic()))
        took = time.monotonic() - began
        enough.set()
        await coming
        left = await crowd.all_ended(END_WITHIN)
    ends = Counter(order.status for order in crowd.placed.values())
    hit = f"{sum(aimed.values())} of them in the middle of a commit"
    tell(f"{sum(kills.values())} kills in {took:.0f} s at {RATE:.0f} orders/s, {hit} (in brackets, by role):")
    tell(", ".join(f"{role} {count} ({aimed[role]})" for role, count in sorted(kills.items())))
    tell(f"orders: {dict(ends)}; restarts: {sum(state.restarts for state in system.run.processes())}")
    tell(
        f"accepted after p50 {crowd.waits(50):.2f} s, p99 {crowd.waits(99):.2f} s; on the way there {crowd.failures()}"
    )
    assert min(kills.values()) >= TIMES
    assert sum(aimed.values()) * 3 >= sum(kills.values()), "too few kills hit a commit"
    assert len(crowd.placed) > RATE * SECONDS / 2
    assert not crowd.wrong, crowd.wrong
    assert not left, f"{len(left)} orders were open {END_WITHIN:.0f} s after the last was accepted: {left[:5]}"
