"""The workbench on PostgreSQL: the server that the launcher would start, and a session that can hold its table."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from brokers.side import Process
from chassis_testing.sidecars import RealDaprd, component
from outrigger.credentials import make_credentials
from outrigger.home import Home
from outrigger.parts import until_answering
from outrigger.ports import free_ports
from outrigger.postgresql import find_postgresql, postgresql

from .bench import RealBench, Rewrite

APP = "seam"
END = "-- done --"
ROWS = "SELECT key, etag FROM state ORDER BY key"


class Session:
    """One connection that stays open, by psql."""

    def __init__(self, string: str) -> None:
        argv = [find_postgresql().server.parent / "psql", string, "-XAtq"]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True)

    def tell(self, statement: str) -> list[str]:
        """Run a statement; returns its rows."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{statement};\n\\echo {END}\n")
        self._process.stdin.flush()
        return list(iter(self._line, END))

    def _line(self) -> str:
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line, "psql ended"
        return line.rstrip("\n")

    def close(self) -> None:
        """End it."""
        self._process.communicate("\\q\n", timeout=10)


class PostgresBench(RealBench):
    """The table is held by a session from here, so commits hang in daprd."""

    def __init__(self, daprd: RealDaprd, string: str, folder: Path) -> None:
        super().__init__(daprd, Path(), folder)
        self.string = string

    @asynccontextmanager
    async def stalled(self) -> AsyncIterator[Rewrite]:
        other = Session(self.string)
        try:
            other.tell("BEGIN")
            other.tell("LOCK TABLE state IN EXCLUSIVE MODE")
            yield lambda key, value: self._change(other, key, value)
            before, judged = other.tell(ROWS), self._judgements()
            other.tell("COMMIT")
            await self._until(lambda: self._judgements() > judged or other.tell(ROWS) != before, "the late commit")
        finally:
            other.close()

    @staticmethod
    def _change(session: Session, key: str, value: Any) -> None:
        text = json.dumps(value)
        changed = session.tell(
            f"UPDATE state SET value = convert_to('{text}', 'UTF8'), etag = gen_random_uuid() "  # noqa: S608 - ours
            f"WHERE key = '{APP}||{key}' RETURNING 'changed'"
        )
        assert changed == ["changed"]


@contextmanager
def server(root: Path) -> Iterator[str]:
    """Run a server; yields the connection string of the one service that it knows."""
    home = Home(root)
    make_credentials(home.credentials, [APP])
    home.data.mkdir(parents=True)
    (port,) = free_ports(1)
    part = postgresql(home, port, [APP])
    make_credentials(home.credentials, [APP], part.credentials)
    part.prepare()
    process = Process(part.command)
    process.start()
    try:
        with ThreadPoolExecutor(1) as thread:  # a loop runs in this one
            thread.submit(asyncio.run, until_answering(part)).result()
        yield json.loads((home.credentials / f"{APP}.json").read_text())["postgresql"]
    finally:
        process.end()


def emptied(string: str) -> str:
    """Forget what was stored; returns the component."""
    session = Session(string)
    session.tell("SET client_min_messages = error")
    session.tell("DROP TABLE IF EXISTS state, dapr_metadata")
    session.close()
    return component("store", "state.postgresql", connectionString=string).replace("  version: v1\n", "  version: v2\n")
