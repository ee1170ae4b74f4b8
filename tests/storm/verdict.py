"""What a storm must not do, line by line, and what was seen of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from textwrap import wrap

SHOWN = 10
WIDTH = 118


@dataclass(frozen=True, slots=True)
class Line:
    """One promise. `against` is what breaks it."""

    promise: str
    against: Sequence[str] = ()

    @property
    def kept(self) -> bool:
        """Whether nothing breaks it."""
        return not self.against

    def told(self) -> Iterator[str]:
        """Put it into words."""
        yield f"{'PASS' if self.kept else 'MISS'}  {self.promise}"
        yield from (f"      {one}" for one in self.against[:SHOWN])
        if len(self.against) > SHOWN:
            yield f"      ... and {len(self.against) - SHOWN} more"


@dataclass(frozen=True, slots=True)
class Outcome:
    """A storm that is over."""

    head: str
    figures: Sequence[str]
    lines: Sequence[Line]

    @property
    def kept(self) -> bool:
        """Whether every promise was."""
        return all(line.kept for line in self.lines)

    def told(self) -> Iterator[str]:
        """Put it into words."""
        yield self.head
        for figure in self.figures:
            yield from wrap(figure, WIDTH, initial_indent="    ", subsequent_indent="      ")
        for line in self.lines:
            yield from (f"    {words}" for words in line.told())
