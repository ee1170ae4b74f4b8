"""`outrigger move-store`: every service's ledger from one store to the other, while nothing runs.

Rows are copied as they are: documents, inbox marks with their expiry, journal, heads, rows of views. What has arrived
is read back and compared, by number and by a digest over keys, values and expiries. The old store is only read.
"""

import asyncio
import hashlib
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass

from outrigger.choice import Store
from outrigger.credentials import make_credentials, passwords
from outrigger.errors import LauncherError
from outrigger.home import Home
from outrigger.instance import claim
from outrigger.parts import until_answering
from outrigger.plan import services_of
from outrigger.ports import free_ports
from outrigger.postgresql import find_psql, folder_of, postgresql
from outrigger.processes import Child
from outrigger.shelves import InPostgresql, InSqlite, Row, Shelf
from outrigger.template import read_template

_CLOSE = 10.0  # s

Shelves = dict[str, Shelf]


@dataclass(frozen=True, slots=True)
class Sum:
    """How many rows, and a digest that does not depend on their order."""

    rows: int = 0
    digest: int = 0

    @classmethod
    def of(cls, rows: Iterable[Row]) -> "Sum":
        """Add rows up."""
        count = total = 0
        for row in rows:
            count += 1
            total += int.from_bytes(hashlib.sha256(repr(row).encode()).digest())
        return cls(count, total % 2**256)


async def move_store(home: Home, to: Store, each: Callable[[str, int], None]) -> Store:
    """Copy all ledgers to the store `to`; returns where they came from. `each` hears of every service and its rows.

    Raises `LauncherError` where a system runs, where there is nothing to move, and where something lies already.
    """
    lock = claim(home.root)
    try:
        return await moved(home, to, each)
    finally:
        lock.release()


async def moved(home: Home, to: Store, each: Callable[[str, int], None]) -> Store:
    """Do it, with the lock held."""
    (source,) = (store for store in Store if store is not to)
    async with AsyncExitStack() as running:
        old = await _shelves(home, source, running) if _was_used(home, source) else {}
        new = await _shelves(home, to, running)
        await asyncio.to_thread(_refuse, home, source, to, old, new)
        await asyncio.to_thread(_copy, old, new, each)
    return source


def _was_used(home: Home, store: Store) -> bool:
    return store is Store.SQLITE or folder_of(home).is_dir()


async def _shelves(home: Home, store: Store, running: AsyncExitStack) -> Shelves:
    """Return every service's shelf; a server that they need runs until `running` ends."""
    services = services_of(read_template(home.template))
    home.data.mkdir(parents=True, exist_ok=True)
    if store is Store.SQLITE:
        return {service: InSqlite(home.data / f"{service}.db") for service in services}
    make_credentials(home.credentials, services)
    psql, (port,) = find_psql(), free_ports(1)
    part = postgresql(home, port, services)
    await asyncio.to_thread(part.prepare)
    child = Child(part.command, lambda _: None)
    running.push_async_callback(child.stop, _CLOSE)
    await child.start()
    await until_answering(part)
    known = passwords(home.credentials, services)
    return {service: InPostgresql(psql, port, service, known[service]) for service in services}


def _refuse(home: Home, source: Store, to: Store, old: Shelves, new: Shelves) -> None:
    there, taken = (any(shelf.used() for shelf in shelves.values()) for shelves in (old, new))
    if not there and taken:
        raise LauncherError(f"The ledgers are on {to} already: on {source} there is nothing to move.")
    if not there:
        raise LauncherError(f"There is nothing to move: no service has kept a ledger on {source}.")
    if taken:
        where = folder_of(home) if to is Store.POSTGRESQL else f"{home.data}/SERVICE.db of every service"
        raise LauncherError(f"There are ledgers on {to} too, and none is written over: put {where} away first.")


def _copy(old: Shelves, new: Shelves, each: Callable[[str, int], None]) -> None:
    """Copy and compare; what was copied is taken back if anything goes wrong."""
    try:
        for service, shelf in old.items():
            if shelf.used():
                new[service].put(shelf.rows())
                each(service, _compared(service, Sum.of(shelf.rows()), Sum.of(new[service].rows())))
    except BaseException:
        for shelf in new.values():
            shelf.clear()
        raise


def _compared(service: str, left: Sum, arrived: Sum) -> int:
    """Return how many rows there are, if all arrived."""
    if left != arrived:
        raise LauncherError(f"Not all of {service}'s {left.rows} rows arrived as they were: nothing is moved.")
    return arrived.rows
