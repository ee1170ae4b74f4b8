"""Where Dapr keeps the rows of a service's store: as its SQLite and its PostgreSQL component lay them down.

Both have one table `state`, of keys, JSON texts and times of expiry, and make what is missing around it themselves.
ETags are made anew. Checked with Dapr 1.14.
"""

import csv
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Protocol
from uuid import uuid4

from outrigger.errors import LauncherError

Row = tuple[str, str, int | None]
"""A key, its value, and when it expires, in seconds since the epoch."""

_WITHIN = 3600.0  # s for one service
_TABLE = "CREATE TABLE IF NOT EXISTS state"
_IN_SQLITE = (
    f"{_TABLE} (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL, is_binary BOOLEAN NOT NULL, etag TEXT NOT NULL,"
    " expiration_time TIMESTAMP DEFAULT NULL, update_time TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP)"
)
_OUT_OF_POSTGRESQL = """
    COPY (SELECT key, convert_from(value, 'UTF8'), ceil(extract(epoch from expires_at))::bigint FROM state)
    TO STDOUT (FORMAT csv)"""
_INTO_POSTGRESQL = (
    f"""{_TABLE} (key text NOT NULL PRIMARY KEY, value bytea NOT NULL, etag uuid NOT NULL DEFAULT gen_random_uuid(),
        created_at timestamp with time zone NOT NULL DEFAULT now(), updated_at timestamp with time zone,
        expires_at timestamp with time zone)""",
    "CREATE TEMPORARY TABLE moved (key text, value text, expiry bigint)",
    "COPY moved FROM STDIN (FORMAT csv)",
    """INSERT INTO state (key, value, expires_at)
       SELECT key, convert_to(value, 'UTF8'), to_timestamp(expiry) FROM moved""",
)


class Shelf(Protocol):
    """The rows of one service."""

    def rows(self) -> Iterator[Row]:
        """Read all, in no order that matters."""
        ...

    def put(self, rows: Iterable[Row]) -> None:
        """Write them to an empty shelf, all or none."""
        ...

    def clear(self) -> None:
        """Take back what was put."""
        ...

    def used(self) -> bool:
        """Tell whether anything lies here."""
        ...


class InSqlite:
    """A file."""

    def __init__(self, file: Path) -> None:
        """Open nothing yet."""
        self._file = file

    def rows(self) -> Iterator[Row]:
        """Read all."""
        with closing(self._opened("ro")) as db:
            yield from db.execute("SELECT key, value, CAST(strftime('%s', expiration_time) AS INTEGER) FROM state")

    def put(self, rows: Iterable[Row]) -> None:
        """Write them, in one transaction."""
        statement = "INSERT INTO state (key, value, is_binary, etag, expiration_time)"
        values = ((key, value, str(uuid4()), expiry) for key, value, expiry in rows)
        with closing(self._opened("rwc")) as db, db:
            db.execute(_IN_SQLITE)
            db.executemany(f"{statement} VALUES (?, ?, FALSE, ?, datetime(?, 'unixepoch'))", values)

    def clear(self) -> None:
        """Remove the file."""
        for part in self._file.parent.glob(f"{self._file.name}*"):
            part.unlink()

    def used(self) -> bool:
        """Look for a first row."""
        if not self._file.is_file():
            return False
        with closing(self._opened("ro")) as db:
            there = db.execute("SELECT 1 FROM sqlite_master WHERE name = 'state'").fetchone()
            return bool(there and db.execute("SELECT 1 FROM state LIMIT 1").fetchone())

    def _opened(self, mode: str) -> sqlite3.Connection:
        return sqlite3.connect(f"{self._file.as_uri()}?mode={mode}", uri=True, timeout=10)


class InPostgresql:
    """A database on a server that runs, asked by psql."""

    def __init__(self, psql: Path, port: int, service: str, password: str) -> None:
        """Connect to nothing yet."""
        where = f"host=127.0.0.1 port={port} user={service} dbname={service} connect_timeout=10"
        self._argv = [str(psql), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "--single-transaction", "-d", where]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        self._env = {**inherited, "PGPASSWORD": password, "PGCLIENTENCODING": "UTF8", "LC_ALL": "C"}
        self._service = service

    def rows(self) -> Iterator[Row]:
        """Read all."""
        csv.field_size_limit(sys.maxsize)
        with self._psql(_OUT_OF_POSTGRESQL) as asked:
            assert asked.stdout  # noqa: S101 - a pipe
            for key, value, expiry in csv.reader(asked.stdout):
                yield key, value, int(expiry) if expiry else None
            self._ended(asked)

    def put(self, rows: Iterable[Row]) -> None:
        """Write them, in one transaction."""
        with self._psql(*_INTO_POSTGRESQL) as asked:
            assert asked.stdin  # noqa: S101 - a pipe
            with suppress(BrokenPipeError):  # then it says why
                csv.writer(asked.stdin, lineterminator="\n").writerows(rows)
                asked.stdin.close()
            self._ended(asked)

    def clear(self) -> None:
        """Drop the table."""
        self._asked("DROP TABLE IF EXISTS state")

    def used(self) -> bool:
        """Look for a first row."""
        there = self._asked("SELECT to_regclass('state') IS NOT NULL") == "t"
        return there and self._asked("SELECT EXISTS (SELECT 1 FROM state)") == "t"

    def _asked(self, statement: str) -> str:
        with self._psql(statement) as asked:
            assert asked.stdout  # noqa: S101 - a pipe
            answer = asked.stdout.read().strip()
            self._ended(asked)
        return answer

    def _psql(self, *statements: str) -> subprocess.Popen[str]:
        argv = [*self._argv, *(part for statement in statements for part in ("-c", statement))]
        pipe = subprocess.PIPE
        return subprocess.Popen(argv, env=self._env, stdin=pipe, stdout=pipe, stderr=pipe, text=True, encoding="utf-8")

    def _ended(self, asked: subprocess.Popen[str]) -> None:
        assert asked.stderr  # noqa: S101 - a pipe
        if asked.wait(_WITHIN):
            raise LauncherError(f"PostgreSQL did not do it for {self._service}: {asked.stderr.read()[-500:].strip()}")
