"""Making trouble for the bank: what is asked of it, and what a person is told."""

import asyncio
import subprocess
import sys
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from outrigger.errors import LauncherError
from outrigger.faults import change, told, url_of
from outrigger.home import Home
from outrigger.ports import free_ports
from outrigger.state import Phase, ProcessState, RunState

RUN = RunState(
    name="x", folder="x", phase=Phase.READY, launcher=ProcessState(name="launcher"), gateway="x",
    urls={"bank": "http://127.0.0.1:1"},
)  # fmt: skip


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        ({"mode": "slow", "rate": 0.05, "delay": 2.5}, "bank: 5% of the calls hang for 2.5 s"),
        ({"mode": "fail", "rate": 0.6, "delay": 10}, "bank: 60% of the calls fail with 500"),
        ({"mode": "decline", "rate": 1, "delay": 10}, "bank: 100% of the authorizations are declined"),
        ({"mode": "down", "rate": 1, "delay": 10}, "bank: 100% of the calls are cut off"),
        ({"mode": "none", "rate": 1, "delay": 10}, "bank: no trouble"),
    ],
)
def test_it_says_what_happens_now(faults: dict[str, Any], words: str) -> None:
    assert told(faults) == words


def test_only_the_bank_makes_trouble() -> None:
    assert url_of(RUN, "bank") == "http://127.0.0.1:1/faults"
    with pytest.raises(LauncherError, match="the bank does"):
        url_of(RUN, "orders")
    with pytest.raises(LauncherError, match="no bank"):
        url_of(RUN.model_copy(update={"urls": {}}), "bank")


async def test_without_a_wish_it_only_looks() -> None:
    asked: list[tuple[str, Any]] = []

    async def faults(request: web.Request) -> web.Response:
        body = await request.json() if request.method == "POST" else None
        asked.append((request.method, body))
        return web.json_response(body or {"mode": "none"})

    app = web.Application()
    app.router.add_route("*", "/faults", faults)
    async with TestServer(app) as server:
        url = str(server.make_url("/faults"))
        assert await change(url, {"mode": "down"}) == {"mode": "down"}
        assert await change(url, None) == {"mode": "none"}
    assert asked == [("POST", {"mode": "down"}), ("GET", None)]


def test_a_bank_that_is_not_there_is_named() -> None:
    with pytest.raises(LauncherError, match="outrigger logs bank"):
        asyncio.run(change(f"http://127.0.0.1:{free_ports(1)[0]}/faults", None))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--mode", "sleepy"], "Invalid value for '--mode'"),
        (["--mode", "slow", "--rate", "2"], "Invalid value for '--rate'"),
        (["--mode", "slow", "--delay", "0"], "Invalid value for '--delay'"),
    ],
)
def test_what_makes_no_sense_is_refused(home: Home, arguments: list[str], words: str) -> None:
    command = [sys.executable, "-m", "outrigger.cli", "faults", "bank", *arguments]
    done = subprocess.run(command, cwd=home.root, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert words in done.stderr
