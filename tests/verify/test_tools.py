"""That what looks on sees."""

import sqlite3
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from chassis_testing.sidecars import untested
from verify import commits
from verify.shoppers import Placed, Shoppers
from verify.watch import Watch


@pytest.fixture
def told_by_the_kernel() -> None:
    """Only Linux tells who holds a lock, and what a process does."""
    if not commits.LOCKS.exists():
        untested(f"{commits.LOCKS} is not there, so a commit cannot be seen from outside")


@pytest.mark.usefixtures("told_by_the_kernel")
def test_a_commit_is_seen_while_it_is_written(tmp_path: Path) -> None:
    file = tmp_path / "store.db"
    store = sqlite3.connect(file, isolation_level=None)
    try:
        store.execute("pragma journal_mode = wal")
        store.execute("create table state (key)")
        assert not commits.met(lambda: commits.in_file(file), within=0.05)
        store.execute("begin immediate")
        assert commits.in_file(file)
        store.execute("commit")
        assert not commits.in_file(file)
        store.execute("begin")
        store.execute("select * from state")
        assert not commits.in_file(file), "who reads writes nothing"
    finally:
        store.close()


@pytest.mark.usefixtures("told_by_the_kernel")
def test_who_is_killed_while_one_looks_is_in_no_commit(tmp_path: Path) -> None:
    server = subprocess.Popen(["true"])
    server.wait()
    assert not commits.in_database(server.pid, "orders")
    assert not commits.in_file(tmp_path / "store.db")


@pytest.mark.parametrize(
    ("seen", "wrong"),
    [
        (["pending", "reserved", "reserved", "confirmed"], False),
        (["pending", "cancelled"], False),
        (["reserved", "pending"], True),
        (["confirmed", "cancelled"], True),
    ],
)
def test_a_status_that_goes_back_is_noticed(seen: list[str], wrong: bool) -> None:
    crowd, order = Shoppers("http://127.0.0.1:1"), Placed(0.0, 0.0)
    for status in seen:
        crowd.see("o-1", order, status)
    assert bool(crowd.wrong) is wrong


@pytest.mark.parametrize(
    ("status", "ended_at", "late"), [("confirmed", -5, []), ("confirmed", 5, ["o-1"]), ("pending", -5, ["o-1"])]
)
async def test_who_could_not_look_in_time_learns_when_it_ended(status: str, ended_at: float, late: list[str]) -> None:
    class Blind(Shoppers):
        async def _insist(self, verb: str, path: str, body: Any = None, key: str = "") -> tuple[int, Any]:
            at = datetime.fromtimestamp(time.time() + ended_at, UTC).isoformat()
            return 200, {"status": status, "timeline": [{"status": status, "at": at}]}

    crowd = Blind("http://127.0.0.1:1")
    crowd.placed["o-1"] = Placed(0.0, 0.0)
    assert await crowd.all_ended(0) == late


def test_memory_that_grows_is_noticed_and_its_filling_is_not() -> None:
    watch = Watch()
    watch.memory["flat"] = [10, 50, *[100] * 6]
    watch.memory["growing"] = [100, 100, *range(100, 160, 10)]
    assert watch.growth()["flat"] == 1.0
    assert watch.growth()["growing"] > 1.2
