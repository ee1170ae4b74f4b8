"""One workbench, two sidecars on it: in memory, and daprd with SQLite and a pub/sub."""

import asyncio
import sqlite3
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import orjson

from chassis.daprd import Daprd
from chassis.sidecar import Entry, Put, Sidecar, Stored
from chassis_testing.faults import LATE, Fault, Verb
from chassis_testing.folder import Folder
from chassis_testing.memory import MemoryBroker, MemorySidecar, MemoryStore
from chassis_testing.sidecars import POLL_SECONDS, RealDaprd

IMPATIENT_SECONDS = 1.0
TOO_LARGE_FOR_BROKER = 1_300_000  # bytes of one event

Rewrite = Callable[[str, Any], None]


class Bench(ABC):
    """A sidecar, a second client of it that gives up early, and what the world can do to them."""

    sidecar: Sidecar
    impatient: Sidecar

    @abstractmethod
    def stalled(self) -> AbstractAsyncContextManager[Rewrite]:
        """Inside, the store is read as before, but commits hang: they are judged when this is left, at the latest.

        Yields `rewrite(key, value)`: what another replica commits meanwhile.
        """

    @abstractmethod
    async def expired(self, key: str, *, seconds: int) -> None:
        """Let the time to live of a key pass."""

    @abstractmethod
    def files(self) -> dict[str, bytes]:
        """Look into the folder that the binding `mail` writes to."""

    async def value(self, key: str) -> Any:
        """Read one key; None where there is nothing."""
        found = await self.sidecar.read([key])
        return found[key].value if key in found else None

    async def stored(self, key: str, value: Any = 0, *, ttl: int | None = None) -> Stored:
        """Write one key whatever there is, and read it back."""
        await self.sidecar.transact([Put(key, value, ttl=ttl)])
        return (await self.sidecar.read([key]))[key]


class MemoryBench(Bench):
    """Faults make it late; time is a number."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.hangs = False
        self.store, self.broker = MemoryStore(), MemoryBroker()
        self.broker.refuse = lambda _topic, entry: len(orjson.dumps(entry.event)) > TOO_LARGE_FOR_BROKER
        self.folder = Folder()
        self.sidecar = MemorySidecar(self.store, self.broker, clock=self._clock, bindings={"mail": self.folder})
        self.impatient = MemorySidecar(self.store, self.broker, clock=self._clock, faults=self._fault)

    @asynccontextmanager
    async def stalled(self) -> AsyncIterator[Rewrite]:
        self.hangs = True
        yield lambda key, value: self.store.apply([Put(key, value)], self.now)
        self.hangs = False
        self.store.land()

    async def expired(self, key: str, *, seconds: int) -> None:
        self.now += seconds
        assert not await self.sidecar.read([key])

    def files(self) -> dict[str, bytes]:
        return self.folder.files

    def _clock(self) -> float:
        return self.now

    def _fault(self, verb: Verb, _subject: Any) -> Fault | None:
        return LATE if self.hangs and verb == "transact" else None


class RealBench(Bench):
    """The lock on the SQLite file is held from here, so commits hang in daprd."""

    def __init__(self, daprd: RealDaprd, database: Path, folder: Path) -> None:
        self.daprd, self.database, self.folder = daprd, database, folder
        self.sidecar = Daprd(daprd.url)
        self.impatient = Daprd(daprd.url, state_seconds=IMPATIENT_SECONDS)

    async def close(self) -> None:
        await self.sidecar.close()
        await self.impatient.close()

    @asynccontextmanager
    async def stalled(self) -> AsyncIterator[Rewrite]:
        other = sqlite3.connect(self.database, isolation_level=None)
        try:
            other.execute("BEGIN IMMEDIATE")
            judged = self._judgements()  # a later daprd gives a commit up with its client, before we let go
            yield lambda key, value: self._rewrite(other, key, value)
            before = self._rows(other)
            other.execute("COMMIT")
            await self._until(lambda: self._judgements() > judged or self._rows(other) != before, "the late commit")
        finally:
            other.close()

    async def expired(self, key: str, *, seconds: int) -> None:
        deadline = time.monotonic() + seconds + 5
        while await self.sidecar.read([key]):
            assert time.monotonic() < deadline, f"{key} does not expire"
            await asyncio.sleep(POLL_SECONDS)

    def files(self) -> dict[str, bytes]:
        found = [file for file in self.folder.rglob("*") if file.is_file()]
        return {str(file.relative_to(self.folder)): file.read_bytes() for file in found}

    def _judgements(self) -> int:
        """Count the transactions that daprd says it refused; its client is gone, so the log is the only witness."""
        return self.daprd.log.read_bytes().count(b"error while executing state transaction")

    @staticmethod
    def _rows(connection: sqlite3.Connection) -> object:
        return connection.execute("SELECT key, etag FROM state ORDER BY key").fetchall()

    @staticmethod
    def _rewrite(connection: sqlite3.Connection, key: str, value: Any) -> None:
        statement = "UPDATE state SET value = ?, etag = 'rewritten' WHERE key = ?"
        changed = connection.execute(statement, (orjson.dumps(value).decode(), f"seam||{key}")).rowcount
        assert changed == 1

    @staticmethod
    async def _until(condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < deadline, f"never seen: {what}"
            await asyncio.sleep(POLL_SECONDS)


def entry(name: str, *, size: int = 1, key: str = "") -> Entry:
    """Make an event of about `size` bytes."""
    return Entry(name, {"eventId": name, "payload": "x" * size}, key)
