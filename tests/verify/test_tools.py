"""That what looks on sees."""

import sqlite3
import subprocess
from pathlib import Path

import pytest

from verify import commits
from verify.shoppers import Placed, Shoppers
from verify.watch import Watch


@pytest.mark.skipif(not commits.LOCKS.exists(), reason="only Linux tells who holds a lock")
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


@pytest.mark.skipif(not commits.LOCKS.exists(), reason="only Linux tells what a process does")
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


def test_memory_that_grows_is_noticed_and_its_filling_is_not() -> None:
    watch = Watch()
    watch.memory["flat"] = [10, 50, *[100] * 6]
    watch.memory["growing"] = [100, 100, *range(100, 160, 10)]
    assert watch.growth()["flat"] == 1.0
    assert watch.growth()["growing"] > 1.2
