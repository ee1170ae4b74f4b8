"""Makes a failing plan small: whatever can be left out while it still fails is left out."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from simulation.plan import Plan
from simulation.run import simulate

T = TypeVar("T")
TRIES = 150


class Shrinking:
    """One plan on its way down."""

    def __init__(self, plan: Plan, fails: Callable[[Plan], bool] | None = None) -> None:
        self.plan, self.tries = plan, 0
        self._fails = fails or (lambda candidate: bool(simulate(candidate).wrong))

    def run(self) -> Plan:
        """Return the smallest that was found."""
        if self.plan.canaries:
            self._try(replace(self.plan, canaries=False))
        size = -1
        while size != (size := self._size()) and self.tries < TRIES:
            self._drop(self.plan.troubles, lambda kept: replace(self.plan, troubles=kept))
            self._drop(self.plan.acts, lambda kept: replace(self.plan, acts=kept))
            self._drop(self.plan.wishes, lambda kept: replace(self.plan, wishes=kept))
        return self.plan

    def _size(self) -> int:
        return len(self.plan.troubles) + len(self.plan.acts) + len(self.plan.wishes)

    def _drop(self, items: Sequence[T], remake: Callable[[tuple[T, ...]], Plan]) -> None:
        """Leave out ever smaller pieces."""
        kept, piece = tuple(items), max(1, len(items) // 2)
        while piece and kept:
            start = 0
            while start < len(kept):
                fewer = kept[:start] + kept[start + piece :]
                if self._try(remake(fewer)):
                    kept = fewer
                else:
                    start += piece
            piece //= 2

    def _try(self, candidate: Plan) -> bool:
        if self.tries >= TRIES:
            return False
        self.tries += 1
        if self._fails(candidate):
            self.plan = candidate
            return True
        return False
