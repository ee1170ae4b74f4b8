"""Many seeds on all processors, what they reached, and the first that failed, made small."""

import gc
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import IO

from simulation.plan import KINDS, REPLICAS, plan
from simulation.run import Outcome, past, simulate

CHUNK = 5
COLLECT_EVERY = 10  # seeds; the collector rests in between
BAR = 30
SHOWN_EVERY = 10


@dataclass(slots=True)
class Tally:
    """What a campaign has seen."""

    seeds: int = 0
    hits: Counter[str] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)
    orders: Counter[str] = field(default_factory=Counter)
    failed: dict[int, list[str]] = field(default_factory=dict)
    virtual: float = 0.0
    calls: int = 0
    fewest: tuple[int, int] = (10**9, 10**9)  # orders, troubles of one seed
    seconds: float = 0.0

    def add(self, outcome: Outcome) -> None:
        """Count one seed."""
        self.seeds += 1
        self.hits += outcome.hits
        self.seen += outcome.seen
        self.orders += outcome.orders
        self.virtual += outcome.seconds
        self.calls += outcome.calls
        fewest = len(outcome.plan.wishes) + 4 * outcome.plan.canaries, len(outcome.plan.troubles)
        self.fewest = (min(self.fewest[0], fewest[0]), min(self.fewest[1], fewest[1]))
        if outcome.wrong:
            self.failed[outcome.plan.seed] = outcome.wrong

    @property
    def never(self) -> list[str]:
        """Kinds of trouble that never struck."""
        return [kind for kind in KINDS if not self.hits[kind]]

    def told(self) -> Iterator[str]:
        """Put it into words."""
        rate = self.seeds / self.seconds if self.seconds else 0.0
        yield (
            f"{self.seeds} seeds in {self.seconds:.0f} s ({rate:.1f} a second), {self.virtual / 3600:.1f} hours of "
            f"virtual time, {self.calls} calls to sidecars"
        )
        orders, troubles = self.fewest
        yield f"each with at least {orders} orders and {troubles} troubles, on {len(REPLICAS)} replicas of each service"
        yield from _table("orders by outcome", self.orders)
        yield from _table("troubles that struck", Counter({kind: self.hits[kind] for kind in KINDS}))
        yield from _table("branches reached", self.seen)
        for seed, wrong in sorted(self.failed.items())[:10]:
            yield f"FAILED seed {seed}: {wrong[0][:300]}"


def _table(title: str, rows: Counter[str]) -> Iterator[str]:
    yield f"{title}:"
    yield from (f"  {count:>10}  {name}" for name, count in sorted(rows.items(), key=lambda row: (-row[1], row[0])))


def run(seeds: Iterable[int], *, stop_at: int = 5, progress: IO[str] | None = None) -> Tally:
    """Run seeds; ends early when `stop_at` have failed."""
    wanted = list(seeds)
    tally, began = Tally(), time.monotonic()
    past()  # made here, once: a worker that failed at it would be started again and again
    with multiprocessing.get_context("fork").Pool(workers(), _begin) as pool:
        for outcome in pool.imap_unordered(_one, wanted, chunksize=min(CHUNK, -(-len(wanted) // workers()))):
            tally.add(outcome)
            tally.seconds = time.monotonic() - began
            if progress and tally.seeds % SHOWN_EVERY == 0:
                _show(progress, tally, len(wanted))
            if len(tally.failed) >= stop_at:
                break
    return tally


def workers() -> int:
    """Tell how many processes share the work."""
    return int(os.environ.get("SIMULATE_WORKERS", "0")) or os.cpu_count() or 1


def _begin() -> None:
    gc.collect()
    gc.freeze()
    gc.disable()


_done: list[None] = []  # by this worker


def _one(seed: int) -> Outcome:
    outcome = simulate(plan(seed))
    _done.append(None)
    if len(_done) % COLLECT_EVERY == 0:
        gc.collect()
    return outcome


def _show(progress: IO[str], tally: Tally, of: int) -> None:
    done = tally.seeds * BAR // of
    left = (of - tally.seeds) * tally.seconds / tally.seeds
    progress.write(
        f"\r[{'#' * done}{'.' * (BAR - done)}] {tally.seeds}/{of}, {len(tally.failed)} failed, {left:.0f} s left "
    )
    progress.flush()


def say(lines: Iterable[str], out: Callable[[str], object] | None = None) -> None:
    """Print."""
    for line in lines:
        (out or (lambda text: sys.stdout.write(text + "\n")))(line)
