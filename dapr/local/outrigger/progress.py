"""Showing that a long step goes on: a spinner on a terminal, a plain line now and then elsewhere; always on stderr."""

import queue
import subprocess
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import IO, Self

from rich.console import Console
from rich.status import Status  # noqa: TC002 - an attribute's type

_EVERY = 15.0  # seconds between plain lines
_TICK = 1.0


class Progress:
    """One long step with a title. Use it as a context manager and call `tell` often; it decides what to show."""

    def __init__(self, title: str, *, console: Console | None = None) -> None:
        self.title = title
        self._console = console or Console(stderr=True, highlight=False)
        self._status: Status | None = None
        self._started = self._said = time.monotonic()

    def __enter__(self) -> Self:
        self._started = self._said = time.monotonic()
        if self._console.is_terminal:
            self._status = self._console.status(self.title)
            self._status.start()
        else:
            self._console.print(self.title, soft_wrap=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status:
            self._status.stop()
        if kind is None:
            self._console.print(f"{self.title}: done in {self._elapsed():.0f} s", soft_wrap=True)

    def tell(self, detail: str) -> None:
        """Say where the step is; cheap, so call it as often as you like."""
        line = f"{self.title}: {self._elapsed():.0f} s, {detail}"
        if self._status:
            self._status.update(line)
        elif time.monotonic() - self._said >= _EVERY:
            self._said = time.monotonic()
            self._console.print(line, soft_wrap=True)

    def waiting(self) -> None:
        """Say that another process does the same step at this moment."""
        self._console.print(f"{self.title}: another process is at it; waiting for it", soft_wrap=True)

    def _elapsed(self) -> float:
        return time.monotonic() - self._started


def follow(process: subprocess.Popen[str], progress: Progress, sum_up: Callable[[list[str]], str]) -> list[str]:
    """Read a process's output to its end while showing progress; returns the lines."""
    output: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    stream = process.stdout
    if stream is None:
        raise ValueError("the process's output must be a pipe")
    threading.Thread(target=_pump, args=(stream, output), daemon=True).start()
    lines: list[str] = []
    try:
        while (line := _next(output)) is not None:
            lines += [line] if line else []
            progress.tell(sum_up(lines))
        process.wait()
    finally:
        process.kill()  # only where we were interrupted: an ended process takes no signal
        stream.close()
    return lines


def _pump(stream: IO[str], output: "queue.SimpleQueue[str | None]") -> None:
    for line in stream:
        output.put(line.rstrip())
    output.put(None)


def _next(output: "queue.SimpleQueue[str | None]") -> str | None:
    """Return the next line, an empty one after a second of silence, None at the end."""
    try:
        return output.get(timeout=_TICK)
    except queue.Empty:
        return ""
