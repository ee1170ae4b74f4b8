"""The bank as payments meets it: through a real sidecar, with the project's own endpoint, secrets and resiliency."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest

from chassis.daprd import Daprd
from chassis.sidecar import Unanswered, call
from chassis_testing.sidecars import IN_MEMORY, RealDaprd, free_ports, real_daprd
from outrigger.secretfile import BANK_KEY, make_secrets
from support.installation import REPOSITORY, ask
from support.polling import eventually

pytestmark = pytest.mark.real

PLATFORM = REPOSITORY / "components" / "platform"
TIMEOUT = 3.0
REST = 30.0


@dataclass(slots=True)
class Bank:
    """A running bank that can be killed and started again."""

    url: str
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-m", "bank"], env=os.environ | self.environment)
        eventually(self.answers, within=30, what="the bank answers")

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()

    def answers(self) -> bool:
        try:
            return ask(self.url, "GET", "/health").status == 200
        except (OSError, HTTPException):
            return False

    def trouble(self, mode: str, rate: float = 1.0) -> None:
        body = f'{{"mode": "{mode}", "rate": {rate}}}'
        assert ask(self.url, "POST", "/faults", body, {"content-type": "application/json"}).status == 200


@pytest.fixture
def bank(tmp_path: Path) -> Iterator[Bank]:
    make_secrets(tmp_path / "secrets.json")
    (port,) = free_ports(1)
    running = Bank(f"http://127.0.0.1:{port}", {
        "BANK_PORT": str(port), "BANK_BOOK": str(tmp_path / "book.db"),
        "BANK_API_KEY_FILE": str(tmp_path / "secrets.json"), "BANK_API_KEY_NAME": BANK_KEY,
    })  # fmt: skip
    running.start()
    yield running
    running.kill()


@pytest.fixture
def daprd(tmp_path: Path, bank: Bank) -> Iterator[RealDaprd]:
    """Run payments' sidecar."""
    endpoint = (PLATFORM / "bank.yaml").read_text().replace("http://127.0.0.1:8090", bank.url)
    secrets = (PLATFORM / "secrets.yaml").read_text().replace("../../.outrigger/secrets.json", "../secrets.json")
    resiliency = (PLATFORM / "resiliency.yaml").read_text()
    with real_daprd(tmp_path / "daprd", IN_MEMORY, endpoint, secrets, resiliency, app_id="payments") as running:
        yield running


@pytest.fixture
async def client(daprd: RealDaprd) -> AsyncIterator[Daprd]:
    client = Daprd(daprd.url)
    yield client
    await client.close()


async def authorize(client: Daprd, key: str = "o-1", amount: str = "1.00") -> dict[str, Any]:
    return (await call(client, "bank", "authorize", body={"key": key, "amount": amount}))[1]


async def failure(client: Daprd) -> str:
    """Make a call that must fail; returns what is told."""
    with pytest.raises(Unanswered) as failed:
        await authorize(client)
    return str(failed.value)


async def test_the_sidecar_brings_the_key_and_a_decline_is_an_answer(client: Daprd) -> None:
    assert (await authorize(client))["status"] == "authorized"
    for _ in range(20):
        assert (await authorize(client, "o-2", "100000.01"))["status"] == "declined"


async def test_every_way_to_fail_is_an_unknown_outcome(bank: Bank, client: Daprd) -> None:
    bank.trouble("fail")
    assert "answered 500" in await failure(client)
    bank.trouble("down")
    assert "answered 500" in await failure(client)
    bank.trouble("slow")
    began = time.monotonic()
    assert "deadline exceeded" in await failure(client)
    assert time.monotonic() - began >= TIMEOUT
    bank.kill()
    assert "connection refused" in await failure(client)


async def test_a_restarted_bank_is_found_again(bank: Bank, client: Daprd) -> None:
    await authorize(client)
    bank.kill()
    await failure(client)
    await asyncio.to_thread(bank.start)
    assert (await authorize(client))["status"] == "authorized"


def changes(daprd: RealDaprd) -> list[str]:
    """Return the states that the circuit went through, from the sidecar's log."""
    lines = daprd.log.read_text(errors="replace").splitlines()
    return [line.split(" to ")[1].split('"')[0] for line in lines if "changed state" in line]


@pytest.mark.slow
async def test_the_circuit_opens_at_sixty_percent_rests_and_closes(bank: Bank, client: Daprd, daprd: RealDaprd) -> None:
    bank.trouble("fail", rate=0.6)
    refused = await tried_until(client, lambda text: "circuit breaker is open" in text)
    assert refused >= 10
    opened = time.monotonic()
    bank.trouble("none")
    await tried_until(client, lambda text: text == "authorized", pause=0.2)
    assert REST - 1 < time.monotonic() - opened < REST + 5
    assert changes(daprd) == ["open", "half-open", "closed"]


async def tried_until(client: Daprd, wanted: Callable[[str], bool], pause: float = 0.0) -> int:
    """Ask until the answer, or the failure, is as wanted; returns how often that was."""
    deadline, times, told = time.monotonic() + 60, 0, ""
    while time.monotonic() < deadline:
        times += 1
        try:
            told = (await authorize(client, f"k-{times}"))["status"]
        except Unanswered as failed:
            told = str(failed)
        if wanted(told):
            return times
        await asyncio.sleep(pause)
    pytest.fail(f"not within a minute; the last was {told}")
