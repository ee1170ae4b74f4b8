"""Ledgers move from one real store to the other and back, as they are; where that cannot be, one sentence says why."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from chassis.daprd import Daprd
from chassis.sidecar import Put, SidecarError
from chassis_testing.sidecars import component, real_daprd, sqlite
from outrigger.choice import Store
from outrigger.credentials import passwords
from outrigger.errors import LauncherError
from outrigger.home import Home
from outrigger.instance import claim
from outrigger.move import Sum, move_store, moved
from outrigger.parts import until_answering
from outrigger.plan import services_of
from outrigger.ports import free_ports
from outrigger.postgresql import postgresql
from outrigger.processes import Child
from outrigger.shelves import InSqlite, Row
from outrigger.template import read_template

pytestmark = pytest.mark.real

SOON = int(time.time()) + 3600
ROWS: list[Row] = [
    ("orders||head:0", json.dumps({"tail": 3, "quote": '"', "comma": "a,b", "back": "\\\\.", "line": "a\nb"}), None),
    ("orders||inbox:1", '{"at": 1.5}', SOON),
    ("orders||inbox:old", "{}", SOON - 7200),
    ("orders||doc:order:\u00e4%2F", json.dumps({"name": "\u00c5ngstr\u00f6m \U0001f6f6"}, ensure_ascii=False), None),
    ("orders||journal:0:1", json.dumps("x" * 300_000), None),
    ("orders||journal:0:2", "null", None),
]


def nobody(_service: str, _rows: int) -> None:
    """Listen to nothing."""


def shelf(home: Home) -> InSqlite:
    home.data.mkdir(parents=True, exist_ok=True)
    return InSqlite(home.data / "orders.db")


async def test_rows_go_to_postgresql_and_back_as_they_are(home: Home) -> None:
    shelf(home).put(ROWS)
    heard: dict[str, int] = {}
    assert await moved(home, Store.POSTGRESQL, heard.__setitem__) is Store.SQLITE
    assert heard == {"orders": len(ROWS)}
    assert sorted(shelf(home).rows()) == sorted(ROWS), "the old store was touched"
    shelf(home).clear()
    assert await moved(home, Store.SQLITE, nobody) is Store.POSTGRESQL
    assert sorted(shelf(home).rows()) == sorted(ROWS)


@asynccontextmanager
async def reading(home: Home, folder: Path, store: Store) -> AsyncIterator[Daprd]:
    """Run a real sidecar of orders on what a store holds now."""
    async with AsyncExitStack() as stack:
        text = sqlite(home.data / "orders.db")
        if store is Store.POSTGRESQL:
            (port,) = free_ports(1)
            part = postgresql(home, port, services_of(read_template(home.template)))
            part.prepare()
            server = Child(part.command, lambda _: None)
            stack.push_async_callback(server.stop, 20)
            await server.start()
            await until_answering(part)
            string = part.credentials["postgresql"].format(
                service="orders", password=passwords(home.credentials, ["orders"])["orders"]
            )
            text = component("store", "state.postgresql", connectionString=string).replace("version: v1", "version: v2")
        daprd = Daprd(stack.enter_context(real_daprd(folder, text, app_id="orders")).url)
        stack.push_async_callback(daprd.close)
        yield daprd


async def test_a_sidecar_goes_on_with_what_was_moved(home: Home, tmp_path: Path) -> None:
    """Marks that expire still expire, what is there is not inserted again, and ETags hold."""
    home.data.mkdir(parents=True)
    kept = {"head:0": {"tail": 3}, "doc:order:1": {"state": {"name": "\u00c5ngstr\u00f6m"}}}
    async with reading(home, tmp_path / "1", Store.SQLITE) as daprd:
        await daprd.transact([*(Put(key, value) for key, value in kept.items()), Put("inbox:1", {"at": 1}, ttl=3600)])
        await daprd.transact([Put("inbox:gone", {"at": 1}, ttl=1)])
    await moved(home, Store.POSTGRESQL, nobody)
    shelf(home).clear()
    async with reading(home, tmp_path / "2", Store.POSTGRESQL) as daprd:
        found = await daprd.read([*kept, "inbox:1"])
        assert {key: each.value for key, each in found.items()} == {**kept, "inbox:1": {"at": 1}}
        await _until_gone(daprd, "inbox:gone")
        with pytest.raises(SidecarError):
            await daprd.transact([Put("head:0", {"tail": 0}, insert=True)])
        await daprd.transact([Put("head:0", {"tail": 4}, etag=found["head:0"].etag)])
        with pytest.raises(SidecarError):
            await daprd.transact([Put("head:0", {"tail": 5}, etag=found["head:0"].etag)])
    await moved(home, Store.SQLITE, nobody)
    async with reading(home, tmp_path / "3", Store.SQLITE) as daprd:
        found = await daprd.read([*kept, "inbox:1"])
        assert {key: each.value for key, each in found.items()} == {**kept, "head:0": {"tail": 4}, "inbox:1": {"at": 1}}
        await daprd.transact([Put("head:0", {"tail": 5}, etag=found["head:0"].etag)])
        with pytest.raises(SidecarError):
            await daprd.transact([Put("inbox:1", {"at": 2}, insert=True)])
    assert all(expiry for key, _, expiry in shelf(home).rows() if "inbox" in key)


async def _until_gone(daprd: Daprd, key: str) -> None:
    async with asyncio.timeout(20):
        while await daprd.read([key]):
            await asyncio.sleep(0.1)


async def test_what_lies_on_the_other_store_is_not_written_over(home: Home) -> None:
    shelf(home).put(ROWS)
    await moved(home, Store.POSTGRESQL, nobody)
    for store, where in ((Store.POSTGRESQL, "postgresql-"), (Store.SQLITE, "SERVICE.db")):
        with pytest.raises(LauncherError, match=f"There are ledgers on {store} too, .*{where}"):
            await moved(home, store, nobody)


async def test_what_is_not_there_cannot_be_moved(home: Home) -> None:
    with pytest.raises(LauncherError, match="There is nothing to move: no service has kept a ledger on postgresql"):
        await moved(home, Store.SQLITE, nobody)
    shelf(home).put(ROWS)
    with pytest.raises(LauncherError, match="The ledgers are on sqlite already"):
        await moved(home, Store.SQLITE, nobody)


async def test_a_system_that_runs_is_left_alone(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = tmp_path / "lock"
    monkeypatch.setattr("outrigger.instance.lock_path", lambda: lock)
    held = claim(home.root)
    with pytest.raises(LauncherError, match="Outrigger runs here already"):
        await move_store(home, Store.SQLITE, nobody)
    held.release()


async def test_a_half_that_was_moved_is_taken_back(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf(home).put(ROWS)
    sums = iter([Sum(6, 1), Sum(6, 2)])
    monkeypatch.setattr("outrigger.move.Sum.of", lambda _rows: next(sums))
    with pytest.raises(LauncherError, match="Not all of orders's 6 rows arrived"):
        await moved(home, Store.POSTGRESQL, nobody)
    monkeypatch.undo()
    assert await moved(home, Store.POSTGRESQL, nobody) is Store.SQLITE


def test_a_sum_does_not_depend_on_the_order_and_sees_every_change() -> None:
    assert Sum.of(ROWS) == Sum.of(reversed(ROWS))
    key, value, _ = ROWS[0]
    for other in ((key, value, 1), (key, f"{value} ", None), (f"{key}0", value, None)):
        assert Sum.of([other, *ROWS[1:]]) != Sum.of(ROWS)
