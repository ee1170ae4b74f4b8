"""`outrigger logs`: the log files of a run, one or all, once or as they grow."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from outrigger.errors import LauncherError
from outrigger.home import Home

_LOOK_EVERY = 0.3  # s
_SHOWN = 200  # lines of each file without -f


@dataclass(slots=True)
class Tail:
    """A file that is read on from where we were; one that was replaced is read from its start."""

    name: str
    path: Path
    offset: int = 0

    @classmethod
    def at_end(cls, name: str, path: Path) -> Self:
        """Begin where the file ends now."""
        return cls(name, path, path.stat().st_size)

    def fresh(self) -> Iterator[str]:
        """Yield the whole lines that came since the last time."""
        try:
            if self.path.stat().st_size < self.offset:
                self.offset = 0
            with self.path.open("rb") as file:
                file.seek(self.offset)
                for line in file:
                    if not line.endswith(b"\n"):
                        return
                    self.offset += len(line)
                    yield f"{self.name} | {line.decode(errors='replace').rstrip()}"
        except FileNotFoundError:
            return


def tails(home: Home, service: str | None) -> list[Tail]:
    """Return the files of a service (`orders`), of one process (`orders.daprd`) or, without a name, all."""
    names = sorted(path.name.removesuffix(".log") for path in home.logs.glob("*.log"))
    chosen = [name for name in names if service in (None, name, name.partition(".")[0])]
    if not names:
        raise LauncherError("There are no logs yet: start it with `outrigger up`.")
    if not chosen:
        known = sorted({name.partition(".")[0] for name in names})
        raise LauncherError(f"There is no service `{service}`; there are {', '.join(known)}.")
    return [Tail(name, home.logs / f"{name}.log") for name in chosen]


def recent(files: list[Tail]) -> Iterator[str]:
    """Yield the last lines of each file and remember where it ended."""
    for tail in files:
        yield from list(tail.fresh())[-_SHOWN:]


def forever(files: list[Tail]) -> Iterator[str]:
    """Yield lines as they come."""
    while True:
        for tail in files:
            yield from tail.fresh()
        time.sleep(_LOOK_EVERY)
