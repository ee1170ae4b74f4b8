"""The baselines on a real sidecar: they accept orders, and hear our events without any help of ours."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from chassis.daprd import Daprd
from load.contenders import NOOP, TEXTBOOK, TUNED
from load.copies import entries
from load.effects import Streams, stored
from load.measure import bodies
from load.stage import Place, Stage, staged

pytestmark = pytest.mark.real

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(ROOT, (TEXTBOOK, TUNED, NOOP), work=tmp_path / "work") as stage:
        yield stage


async def test_a_baseline_accepts_stores_and_publishes_and_the_textbook_hears_our_events(stage: Stage) -> None:
    streams = Streams(stage.broker_port)
    for contender in (TEXTBOOK, TUNED, NOOP):
        answer = await _place_order(stage.places[contender.name])
        assert answer["status"] == "pending"
        if contender.stored and contender.topic:
            assert stored(stage.database(contender), f"{contender.stored}{answer['orderId']}") == 1
            assert streams.published(contender.topic) == 1
    streams.close()
    await _publish_our_events(stage.places[TEXTBOOK.name])
    await _until_heard(stage.places[TEXTBOOK.name], len(entries("inventory")))


async def _place_order(place: Place) -> dict[str, str]:
    order = json.loads(bodies().splitlines()[0])
    async with aiohttp.ClientSession() as http, http.post(f"{place.app_url}/place-order", json=order) as answer:
        assert answer.status == 202
        return await answer.json()


async def _publish_our_events(place: Place) -> None:
    sidecar = Daprd(place.sidecar_url)
    assert await sidecar.publish("inventory", entries("inventory")) == set()
    await sidecar.close()


async def _until_heard(place: Place, count: int) -> None:
    deadline = time.monotonic() + 10
    async with aiohttp.ClientSession() as http:
        while True:
            async with http.get(f"{place.app_url}/heard") as answer:
                heard = await answer.json()
            if heard == ["ProductAdded"] * count:
                return
            assert time.monotonic() < deadline, f"heard {len(heard)} of {count}"
            await asyncio.sleep(0.05)
