"""Sees a commit while it happens: a service's sidecar then holds the write lock of its SQLite file, says the kernel.

In WAL mode that is byte 120 of the `-shm` file (https://sqlite.org/walformat.html#locks).
"""

import time
from collections.abc import Iterator
from pathlib import Path

LOCKS = Path("/proc/locks")
WRITER = 120


def under_way(store: Path) -> bool:
    """Tell whether a transaction is being written to the store at this very moment."""
    shared = store.with_name(f"{store.name}-shm")
    inode = str(shared.stat().st_ino)
    return any(first <= WRITER <= last for first, last in _written(inode))


def met(store: Path, within: float) -> bool:
    """Wait, without a pause, until a commit is under way; False if there is none in time."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if under_way(store):
            return True
    return False


def _written(inode: str) -> Iterator[tuple[int, float]]:
    """Yield the ranges of a file that somebody holds for writing."""
    for line in LOCKS.read_text().splitlines():
        words = line.split()
        if words[1] != "->" and words[3] == "WRITE" and words[5].rpartition(":")[2] == inode:
            yield int(words[6]), float("inf") if words[7] == "EOF" else int(words[7])
