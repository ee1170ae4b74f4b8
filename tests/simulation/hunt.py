"""`make simulate-bugs`: plants each bug in turn, runs seeds until one is found wrong, and writes the table."""

import argparse
import contextlib
import gc
import multiprocessing
import re
import sys
import time
from dataclasses import dataclass

import pytest

from simulation import bugs_chassis, bugs_reconciliation, bugs_services, report
from simulation.campaign import say, workers
from simulation.plan import plan
from simulation.planting import BUGS
from simulation.run import past, simulate

SEEDS = 500
FIRST = 25  # seeds in which most are found; the others are looked for afterwards
BROKEN = re.compile(r"(Type|Attribute|Name|Import|Lookup|Key|Index|Unbound\w+)Error")
"""What would show that the bug is no bug but nonsense, which any run would trip over."""
PLANTED = (bugs_chassis, bugs_reconciliation, bugs_services)


@dataclass(frozen=True, slots=True)
class Catch:
    """What came of one bug."""

    number: int
    seeds: int
    told: str
    seconds: float

    @property
    def caught(self) -> bool:
        """Tell whether an invariant spoke, and no accident."""
        return bool(self.told) and not BROKEN.search(self.told)


def hunt(task: tuple[int, int, int]) -> Catch:
    """Plant one bug in this process and look for it in some seeds."""
    number, first, last = task
    gc.disable()
    began = time.monotonic()
    patch = pytest.MonkeyPatch()
    BUGS[number].plant(patch)
    try:
        for seed in range(first, last):
            if wrong := simulate(plan(seed)).wrong:
                return Catch(number, seed + 1, wrong[0], time.monotonic() - began)
            if seed % 20 == 0:
                gc.collect()
    finally:
        patch.undo()
    return Catch(number, last, "", time.monotonic() - began)


def _all(tasks: list[tuple[int, int, int]]) -> list[Catch]:
    catches: list[Catch] = []
    with multiprocessing.get_context("fork").Pool(workers(), maxtasksperchild=1) as pool:
        for catch in pool.imap_unordered(hunt, tasks, chunksize=1):
            catches.append(catch)
            known = BUGS[catch.number]
            found = f"seed {catch.seeds}: {catch.told[:110]}" if catch.caught else f"NOT CAUGHT {catch.told[:200]}"
            sys.stderr.write(f"{len(catches):>3}/{len(tasks)} {known.where}: {known.name}: {found}\n")
    return catches


def main() -> int:
    """Hunt them all, or those whose names hold a word; returns the exit status."""
    parser = argparse.ArgumentParser(prog="simulation.hunt", description=__doc__)
    parser.add_argument("--only", default="", help="part of a bug's place or name")
    chosen = parser.parse_args()
    wanted = [n for n, each in enumerate(BUGS) if chosen.only in f"{each.where}: {each.name}"]
    past()
    easy = _all([(number, 0, FIRST) for number in wanted])
    hard = _all([(catch.number, FIRST, SEEDS) for catch in easy if not catch.told])
    catches = sorted([*(c for c in easy if c.told), *hard], key=lambda catch: catch.number)
    caught = sum(catch.caught for catch in catches)
    say([f"{caught} of {len(catches)} planted bugs were caught within {SEEDS} seeds"])
    if not chosen.only:
        with contextlib.suppress(FileNotFoundError):
            report.write("planted bugs", report.bugs([(BUGS[c.number], c) for c in catches], SEEDS))
    return int(caught < 0.95 * len(catches))


if __name__ == "__main__":
    raise SystemExit(main())
