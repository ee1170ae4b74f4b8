"""A lane of somebody's journal as it looks from outside: where it is, some of its records, what was seen of it when."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Watch:
    """What is remembered of a lane between two looks; times are the loop's."""

    tails: deque[tuple[float, int]] = field(default_factory=deque)
    old: int = 0
    first: str = ""
    since: float = 0.0

    def noted(self, tail: int, now: float, patience: float) -> int:
        """Note a tail; returns the last one that was noted at least `patience` ago."""
        self.tails.append((now, tail))
        while self.tails and now - self.tails[0][0] >= patience:
            self.old = self.tails.popleft()[1]
        return self.old

    def stuck(self, first: str, now: float, patience: float) -> bool:
        """Tell whether the first event that is missing has been so for `patience`."""
        if first != self.first:
            self.first, self.since = first, now
        return now - self.since >= patience


@dataclass(frozen=True, slots=True)
class Place:
    """A lane of somebody's journal."""

    producer: str
    journal: str
    lane: int


@dataclass(frozen=True, slots=True)
class Page:
    """Some records: the number of the last, and the handled events in them, in order, by id."""

    last: int
    numbers: dict[str, int]

    def lost(self, missing: Iterable[str]) -> tuple[list[str], bool]:
        """Return which of the missing events to fetch; and whether nothing behind the first of them was handled."""
        order = [event for event in self.numbers if event in missing]
        handled = [n for event, n in self.numbers.items() if event not in missing and n >= self.numbers[order[0]]]
        return [event for event in order if not handled or self.numbers[event] <= handled[-1]], not handled
