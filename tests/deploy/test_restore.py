"""The statement by which docs/operations.md gives a restored journal a new id, on a real PostgreSQL."""

import asyncio
import json
import re
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from chassis import keys
from chassis.journal import Head
from delivery.members import ROOT
from outrigger.home import Home
from outrigger.postgresql import find_postgresql
from outrigger.shelves import InPostgresql
from support.installation import install
from support.postgresql import postgresql

pytestmark = pytest.mark.real

EVENT = {"eventId": "1", "origin": "orders/old/0/1#0", "payload": {"journalId": "old"}}
ROWS = {
    "orders||lanes": {"journalId": "old", "lanes": 2},
    "orders||head:0": Head("old", owner="orders-0", epoch=3, tail=1, commit="c", followers={"relay": 1}).value(),
    "orders||head:1": Head("old").value(),
    "orders||journal:0:1": {"commit": "c", "at": 1.5, "events": [EVENT]},
    "orders||doc:order:lanes": {"revision": 1, "state": {"journalId": "old"}},
    "orders||cursor:users:old": {"lanes": {"0": 7}, "types": {}},
}


def statement() -> str:
    (found,) = re.findall(r"(?s)```sql\n(.*?)```", (ROOT / "docs/operations.md").read_text())
    return found


@asynccontextmanager
async def ledger(home: Home) -> AsyncIterator[tuple[InPostgresql, list[str]]]:
    """Run PostgreSQL; yields the rows of orders, and how psql reaches them."""
    async with postgresql(home):
        known = json.loads((home.credentials / "orders.json").read_text())["postgresql"]
        words = dict(pair.split("=", 1) for pair in known.split())
        psql = find_postgresql().server.parent / "psql"
        shelf = InPostgresql(psql, int(words["port"]), "orders", words["password"])
        yield shelf, [str(psql), known, "-X", "-v", "ON_ERROR_STOP=1", "--single-transaction"]


def etags(psql: list[str]) -> dict[str, str]:
    told = subprocess.run([*psql, "-Atc", "SELECT key, etag FROM state"], capture_output=True, text=True, check=True)
    return dict(line.rsplit("|", 1) for line in told.stdout.splitlines())


async def test_the_id_changes_where_it_stands_and_nowhere_else(tmp_path: Path) -> None:
    async with ledger(install(tmp_path / "a folder")) as (shelf, psql):
        shelf.put([(key, json.dumps(value), None) for key, value in ROWS.items()])
        before = etags(psql)
        done = await asyncio.to_thread(
            subprocess.run,
            [*psql, "--set", "journal=new"],
            input=statement(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout.strip() == "UPDATE 3", done.stderr
        after = etags(psql)
        rows = {key: json.loads(value) for key, value, _ in shelf.rows()}
    changed = {"orders||lanes", "orders||head:0", "orders||head:1"}
    assert {key for key in before if before[key] != after[key]} == changed, "or a running process could write over it"
    field = {key: "journalId" if key.endswith(keys.LANES) else "journal_id" for key in changed}
    assert rows == {key: {**value, field[key]: "new"} if key in changed else value for key, value in ROWS.items()}
