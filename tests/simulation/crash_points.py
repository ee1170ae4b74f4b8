"""`make simulate-crashes`: the process dies before, and after, every call to a sidecar; each call is done twice.

However it goes, everything converges.

Flows run in a quiet system, so their calls can be numbered. What idle processes do by themselves (their lease, their
look at the lanes) is not counted.
"""

import multiprocessing
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from chassis_testing.faults import CRASH_AFTER, CRASH_BEFORE, TWICE, Fault, Verb
from chassis_testing.virtual_time import determined
from simulation import branches, report
from simulation.campaign import say, workers
from simulation.clients import Customer
from simulation.plan import Wish
from simulation.replica import Replica
from simulation.run import QUIET_WITHIN, Restless, judged, past, settle, until
from simulation.town import EPOCH, Town, brief
from simulation.troubles import calm

SEED = 7
VARIANTS: dict[str, Fault] = {
    "dies before it": CRASH_BEFORE,
    "dies after it": CRASH_AFTER,
    "it is done twice": TWICE,
}
IDLE = ("head:", "lanes", "view:", "handled", "probe:")
ENOUGH = 150


def _confirmed(_town: Town) -> Wish:
    return Wish(1, 0.0, 0, (("ROPE", 1), ("TEA", 2)), polls=2)


def _cancelled(town: Town) -> Wish:
    town.bank.stopped_until = town.loop.now + 5.0  # longer than a crash keeps the wish waiting
    return Wish(2, 0.0, 1, (("ROPE", 1), ("TEA", 2)), cancel_after=0.3, polls=2)


FLOWS: dict[str, tuple[Callable[[Town], Wish], set[str]]] = {
    "an order to its end": (_confirmed, {"confirmed"}),
    "an order that its customer cancels": (_cancelled, {"cancelled"}),
}


@dataclass(frozen=True, slots=True)
class Point:
    """One call of one flow, and what happens there."""

    flow: str
    number: int
    variant: str


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of it."""

    point: Point | None
    calls: tuple[str, ...]
    wrong: tuple[str, ...]


def run(flow: str, point: Point | None = None) -> Ran:
    """Run a flow; without a point nothing happens to it."""
    before = past()
    town = Town(SEED, before)
    calls: list[str] = []

    def forced(replica: Replica, verb: Verb, subject: Any) -> Fault | None:
        what = brief(verb, subject)
        if verb == "ready" or all(name.startswith(IDLE) for name in what.split()):
            return None
        calls.append(f"{replica.service_name} {verb}")
        struck = point is not None and len(calls) == point.number
        return VARIANTS[point.variant] if point and struck else None

    with determined(SEED, town.loop, EPOCH), branches.counted(town.seen):
        try:
            wrong = _lived(town, flow, forced)
        finally:
            town.close()
    return Ran(point, tuple(calls), tuple(wrong))


def _lived(town: Town, flow: str, forced: Any) -> list[str]:
    prepare, ends = FLOWS[flow]
    try:
        until(town, lambda: all(r.serves for r in town.replicas.values()), QUIET_WITHIN)
        town.forced = forced
        customer = Customer(town, prepare(town))
        town.start(customer.shop())
        settle(town, QUIET_WITHIN)
        calm(town)
        town.forced = None
        town.run(customer.look())
        if customer.status not in ends:
            return [*town.wrong, f"it ended {customer.status}"]
        return town.run(judged(town, [customer]))
    except Restless as restless:
        return [*town.wrong, str(restless)]


def _one(point: Point) -> Ran:
    return run(point.flow, point)


def points() -> tuple[list[Point], Counter[str]]:
    """Number the calls of every flow; returns them with every variant, and how many there are by service and verb."""
    found: list[Point] = []
    kinds: Counter[str] = Counter()
    for flow in FLOWS:
        quiet = run(flow)
        assert not quiet.wrong, quiet.wrong
        kinds.update(quiet.calls)
        found += [Point(flow, n, variant) for n in range(1, len(quiet.calls) + 1) for variant in VARIANTS]
    return found, kinds


def main() -> int:
    """Run them all; returns the exit status."""
    wanted, kinds = points()
    wrong: list[Ran] = []
    with multiprocessing.get_context("fork").Pool(workers()) as pool:
        for done, ran in enumerate(pool.imap_unordered(_one, wanted, chunksize=10), 1):
            if ran.wrong:
                wrong.append(ran)
            if done % 20 == 0:
                sys.stderr.write(f"\r{done}/{len(wanted)}, {len(wrong)} did not converge ")
                sys.stderr.flush()
    sys.stderr.write("\n")
    lines = list(_told(wanted, kinds, wrong))
    say(lines)
    report.write("crash points", lines)
    return int(bool(wrong) or len(wanted) < ENOUGH)


def _told(wanted: list[Point], kinds: Counter[str], wrong: list[Ran]) -> Any:
    calls = len(wanted) // len(VARIANTS)
    yield f"Run of {report.today()}: {calls} calls, {len(wanted)} crash points, {len(wanted) - len(wrong)} converged."
    yield ""
    for flow in FLOWS:
        yield f"- {flow}: {len({p.number for p in wanted if p.flow == flow})} calls"
    yield "- by service and call: " + ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items()))
    yield from (f"- DID NOT CONVERGE: {r.point}: {r.wrong[0][:300]}" for r in wrong[:10])


if __name__ == "__main__":
    raise SystemExit(main())
