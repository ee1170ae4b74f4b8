"""Counts which defences a run has reached, by their own words in the log and by who was called."""

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from chassis.executor import Executor
from chassis.journal import Lanes
from chassis.work import Letter, Message, Redrive


class _Counting(logging.Handler):
    def __init__(self, seen: Counter[str]) -> None:
        super().__init__(logging.INFO)
        self.seen = seen

    def handle(self, record: logging.LogRecord) -> bool:
        self.seen[f"log: {record.msg}"] += 1
        return True


@contextmanager
def counted(seen: Counter[str]) -> Iterator[None]:
    """Count into `seen` inside."""
    log, handler = logging.getLogger("chassis"), _Counting(seen)
    was = log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        with _watched(seen):
            yield
    finally:
        log.removeHandler(handler)
        log.level, log.propagate = was


WATCHED: tuple[tuple[type, str, str], ...] = (
    (Executor, "_halve", "batches halved, or given up"),
    (Lanes, "settle", "verdicts after an unknown outcome"),
    (Message, "_again", "answered again from the inbox"),
    (Message, "_refuse", "refusals"),
    (Redrive, "run", "redrives"),
    (Letter, "run", "letters written"),
)


@contextmanager
def _watched(seen: Counter[str]) -> Iterator[None]:
    originals = [(owner, name, getattr(owner, name)) for owner, name, _ in WATCHED]
    for owner, name, label in WATCHED:
        setattr(owner, name, _noting(getattr(owner, name), seen, label))
    try:
        yield
    finally:
        for owner, name, original in originals:
            setattr(owner, name, original)


def _noting(function: Any, seen: Counter[str], label: str) -> Any:
    def noting(*args: Any, **more: Any) -> Any:
        seen[label] += 1
        return function(*args, **more)

    return noting
