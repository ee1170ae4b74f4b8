"""PostgreSQL as a part, really: whose data is whose, and what a kill or another port leaves of it."""

import asyncio
import json
import os
import subprocess

import pytest

from outrigger.home import Home
from outrigger.parts import until_answering
from outrigger.postgresql import find_postgresql
from support.postgresql import postgresql

pytestmark = pytest.mark.real


def asked(home: Home, service: str, statement: str, **instead: str) -> subprocess.CompletedProcess[str]:
    """Ask as a service does; `instead` replaces parts of its connection string."""
    known = json.loads((home.credentials / f"{service}.json").read_text())["postgresql"]
    words = {**dict(pair.split("=", 1) for pair in known.split()), **instead}
    string = " ".join(f"{name}={value}" for name, value in words.items())
    argv = [find_postgresql().server.parent / "psql", string, "-At", "-c", statement]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return subprocess.run(argv, env=clean, capture_output=True, text=True, timeout=30, check=False)


async def test_a_service_reads_its_own_database_and_no_other(home: Home) -> None:
    async with postgresql(home):
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
    async with postgresql(home) as (part, child):
        asked(home, "orders", "create table kept as select 7 as x")
        killed = child.pid
        assert killed
        os.kill(killed, 9)
        async with asyncio.timeout(30):
            while child.pid in (None, killed):
                await asyncio.sleep(0.02)
        await until_answering(part)
        assert asked(home, "orders", "select x from kept").stdout == "7\n"
    async with postgresql(home):
        assert asked(home, "orders", "select x from kept").stdout == "7\n"
