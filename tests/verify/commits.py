"""Sees a commit while it happens, from outside.

SQLite: the kernel says that a service's sidecar holds the write lock of its file; in WAL mode that is byte 120 of the
`-shm` file (https://sqlite.org/walformat.html#locks). PostgreSQL: a connection's process says in its title what it does
(`update_process_title`, on by default).
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

LOCKS = Path("/proc/locks")
WRITER = 120
WRITING = ("BEGIN", "INSERT", "UPDATE", "DELETE", "COMMIT", "idle in transaction")


def in_file(store: Path) -> bool:
    """Tell whether a transaction is being written to a SQLite file at this very moment."""
    try:
        inode = str(store.with_name(f"{store.name}-shm").stat().st_ino)
    except FileNotFoundError:
        return False  # nobody has it open
    return any(first <= WRITER <= last for first, last in _written(inode))


def in_database(server: int, name: str) -> bool:
    """Tell whether a PostgreSQL server, by its process id, is in a transaction that writes to a database."""
    return any(title.startswith(f"postgres: {name} ") and title.endswith(WRITING) for title in _titles(server))


def met(under_way: Callable[[], bool], within: float) -> bool:
    """Wait, without a pause, until a commit is under way; False if there is none in time."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if under_way():
            return True
    return False


def _written(inode: str) -> Iterator[tuple[int, float]]:
    """Yield the ranges of a file that somebody holds for writing."""
    for line in LOCKS.read_text().splitlines():
        words = line.split()
        if words[1] != "->" and words[3] == "WRITE" and words[5].rpartition(":")[2] == inode:
            yield int(words[6]), float("inf") if words[7] == "EOF" else int(words[7])


def _titles(server: int) -> Iterator[str]:
    """Yield what the processes of a server's connections call themselves."""
    for child in _read(f"/proc/{server}/task/{server}/children").split():
        yield _read(f"/proc/{child}/cmdline").rstrip("\0 ")


def _read(told: str) -> str:
    """Return what the kernel tells of a process; nothing of one that has gone: others may be killed meanwhile."""
    try:
        return Path(told).read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
