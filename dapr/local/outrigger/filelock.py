"""A lock that the kernel gives back when its holder dies, however it dies."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


class FileLock:
    """An exclusive flock on a file that may carry a note about its holder. The file itself is never removed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def take(self, note: str = "", *, wait: bool = False) -> bool:
        """Take the lock and leave a note; tells whether it was taken (always, with `wait`)."""
        descriptor = _open(self.path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        _write(descriptor, note)
        return True

    def held_by_other(self) -> bool:
        """Tell whether somebody has it, without taking it."""
        if not self.path.exists():
            return False
        probe = FileLock(self.path)
        if taken := probe.take(self.note()):
            probe.release()
        return not taken

    def note(self) -> str:
        """Read what the holder wrote; empty if there is nothing to read."""
        try:
            return self.path.read_text()
        except OSError:
            return ""

    def release(self) -> None:
        """Give the lock back; harmless if it was never taken."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


@contextmanager
def locked(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock for a block; `waiting` is called once if somebody else has it."""
    lock = FileLock(path)
    if not lock.take():
        waiting()
        lock.take(wait=True)
    try:
        yield
    finally:
        lock.release()


def _open(path: Path) -> int:
    """Open for writing where that is allowed: another user's file in a sticky folder can still be locked."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError:
        return os.open(path, os.O_RDONLY)
    return descriptor


def _write(descriptor: int, note: str) -> None:
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, note.encode(), 0)
    except OSError:
        return  # opened for reading only: the lock counts, the note is a courtesy
