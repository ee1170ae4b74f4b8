"""The workbench on PostgreSQL: the server that the launcher would start, and a session that can hold its table."""

import json
import secrets
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

from testcontainers.community.postgres import PostgresContainer

from chassis_testing.sidecars import RealDaprd, component
from outrigger.credentials import make_credentials
from outrigger.home import Home
from outrigger.ports import LOOPBACK, free_ports
from outrigger.postgresql import find_postgresql, postgresql
from servers.container import publish
from servers.engine import contained, image
from servers.process import PartProcess

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
            judged = self._judgements()
            yield lambda key, value: self._change(other, key, value)
            before = other.tell(ROWS)
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
    (port,) = free_ports(1)
    with _in_container(port) if contained() else _as_process(Home(root), port) as string:
        yield string


@contextmanager
def _in_container(port: int) -> Iterator[str]:
    password = secrets.token_urlsafe(16)
    container = PostgresContainer(image("postgresql"), username=APP, password=password, dbname=APP, driver=None)
    publish(container, container.port, at=port)
    with container:
        yield f"host={LOOPBACK} port={port} user={APP} password={password} dbname={APP}"


@contextmanager
def _as_process(home: Home, port: int) -> Iterator[str]:
    make_credentials(home.credentials, [APP])
    home.data.mkdir(parents=True)
    part = postgresql(home, port, [APP])
    make_credentials(home.credentials, [APP], part.credentials)
    with closing(PartProcess(part)) as process:
        process.start()
        yield json.loads((home.credentials / f"{APP}.json").read_text())["postgresql"]


def emptied(string: str) -> str:
    """Forget what was stored; returns the component."""
    session = Session(string)
    session.tell("SET client_min_messages = error")
    session.tell("DROP TABLE IF EXISTS state, dapr_metadata")
    session.close()
    return component("store", "state.postgresql", connectionString=string).replace("  version: v1\n", "  version: v2\n")
