"""PostgreSQL as a part, really: whose data is whose, and what a kill or another port leaves of it."""

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from outrigger.choice import Choice, Store
from outrigger.home import Home
from outrigger.parts import Part, until_answering
from outrigger.plan import make_plan
from outrigger.postgresql import find_postgresql
from outrigger.processes import Child

pytestmark = pytest.mark.real


@asynccontextmanager
async def running(home: Home) -> AsyncIterator[tuple[Part, Child]]:
    plan = make_plan(home, home.root, 20_001, Choice(store=Store.POSTGRESQL))
    plan.write_resources()
    part = next(part for part in plan.parts if part.command.name == "postgresql")
    part.prepare()
    child = Child(part.command, lambda _: None)
    await child.start()
    try:
        await until_answering(part)
        yield part, child
    finally:
        await child.stop(20)


def asked(home: Home, service: str, statement: str, **instead: str) -> subprocess.CompletedProcess[str]:
    """Ask as a service does; `instead` replaces parts of its connection string."""
    known = json.loads((home.credentials / f"{service}.json").read_text())["postgresql"]
    words = {**dict(pair.split("=", 1) for pair in known.split()), **instead}
    string = " ".join(f"{name}={value}" for name, value in words.items())
    argv = [find_postgresql().server.parent / "psql", string, "-At", "-c", statement]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return subprocess.run(argv, env=clean, capture_output=True, text=True, timeout=30, check=False)


async def test_a_service_reads_its_own_database_and_no_other(home: Home) -> None:
    async with running(home):
        assert asked(home, "orders", "create table mine (x int)").returncode == 0
        assert asked(home, "orders", "select current_user").stdout == "orders\n"
        for stranger in (
            asked(home, "payments", "select * from mine", dbname="orders"),
            asked(home, "payments", "select * from mine", dbname="orders", user="orders"),
            asked(home, "payments", "select 1", dbname="postgres", user="postgres"),
            asked(home, "payments", "select 1", dbname="postgres"),
            asked(home, "orders", "select 1", password="guessed"),  # noqa: S106 - a wrong one
        ):
            assert stranger.returncode == 2, stranger
            assert "FATAL" in stranger.stderr


async def test_what_was_committed_survives_a_kill_and_a_run_on_another_port(home: Home) -> None:
    async with running(home) as (part, child):
        asked(home, "orders", "create table kept as select 7 as x")
        killed = child.pid
        assert killed
        os.kill(killed, 9)
        async with asyncio.timeout(30):
            while child.pid in (None, killed):
                await asyncio.sleep(0.02)
        await until_answering(part)
        assert asked(home, "orders", "select x from kept").stdout == "7\n"
    async with running(home):
        assert asked(home, "orders", "select x from kept").stdout == "7\n"
