"""The bank as a process: how it is started, killed, stopped, and cut off."""

import http.client
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from chassis_testing.sidecars import free_ports
from support.installation import ask
from support.polling import eventually


class Process:
    """One bank in a folder."""

    def __init__(self, folder: Path) -> None:
        (self.port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{self.port}"
        (folder / "secrets.json").write_text('{"bank-api-key": "letmein"}')
        self.environment = {
            "BANK_PORT": str(self.port),
            "BANK_BOOK": str(folder / "book.db"),
            "BANK_API_KEY_FILE": str(folder / "secrets.json"),
            "BANK_API_KEY_NAME": "bank-api-key",
        }

    def start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-m", "bank"], env={**os.environ, **self.environment})

    @contextmanager
    def serving(self) -> Iterator[subprocess.Popen[bytes]]:
        """Run until the end of the block."""
        process = self.start()
        try:
            eventually(self.answers, within=30, what="the bank answers")
            yield process
        finally:
            process.kill()
            process.wait()

    def answers(self) -> bool:
        try:
            return ask(self.url, "GET", "/health").status == 200
        except (OSError, http.client.HTTPException):
            return False

    def post(self, path: str, body: str) -> Any:
        headers = {"content-type": "application/json", "X-Api-Key": "letmein"}
        return ask(self.url, "POST", path, body, headers).json


@pytest.fixture
def bank(tmp_path: Path) -> Process:
    return Process(tmp_path)


def test_its_book_survives_a_kill(bank: Process) -> None:
    with bank.serving() as process:
        bank.post("/authorize", '{"key": "o-1", "amount": 1}')
        process.kill()
    with bank.serving():
        assert bank.post("/capture", '{"key": "o-1"}')["status"] == "captured"


def test_being_told_to_stop_it_stops_though_a_call_hangs(bank: Process) -> None:
    with bank.serving() as process:
        bank.post("/faults", '{"mode": "slow", "delay": 60}')
        connection = http.client.HTTPConnection("127.0.0.1", bank.port, timeout=20)
        connection.request("POST", "/void", '{"key": "o-1"}', {"content-type": "application/json"})
        process.terminate()
        process.wait(timeout=20)
        connection.close()


def test_a_line_that_is_down_is_cut_and_comes_back(bank: Process) -> None:
    with bank.serving():
        bank.post("/faults", '{"mode": "down"}')
        for _ in range(3):
            with pytest.raises((ConnectionError, http.client.RemoteDisconnected)):
                bank.post("/authorize", '{"key": "o-1", "amount": 1}')
        bank.post("/faults", '{"mode": "none"}')
        assert ask(bank.url, "GET", "/book").json["payments"] == []
        assert bank.post("/authorize", '{"key": "o-1", "amount": 1}')["status"] == "authorized"


@pytest.mark.parametrize("missing", ["BANK_BOOK", "BANK_API_KEY_FILE"])
def test_without_what_it_needs_it_says_so(bank: Process, missing: str) -> None:
    del bank.environment[missing]
    done = subprocess.run(
        [sys.executable, "-m", "bank"], env={**os.environ, **bank.environment}, capture_output=True, timeout=60,
        check=False, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert missing.removeprefix("BANK_").lower() in done.stderr
