"""`make storm`: everything is killed, stopped and wiped under load, by seed; exit status 1 where a promise broke."""

import argparse
import os
import random
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from brokers.whole import broker_of
from outrigger.choice import Broker, Store
from simulation import report
from simulation.campaign import say
from storm.beside import compare
from storm.plan import plan
from storm.verdict import Outcome
from storm.whole import LEASE, SETTINGS, roles, storm
from support.installation import REPOSITORY, Installation

WORK = REPOSITORY / ".outrigger" / "storm"


def main() -> int:
    """Run; returns the exit status."""
    chosen = _arguments()
    say([f"seed {chosen.seed}"])
    with _installed(_emptied(f"{chosen.broker} {chosen.store} {chosen.kills}"), chosen.broker, chosen.store) as system:
        outcome = storm(system, plan(
            chosen.seed, roles(system), broker=broker_of(system), kills=chosen.kills, orders=chosen.orders,
            lease=LEASE, rate=chosen.rate,
        ))  # fmt: skip
        say(outcome.told())
    outcomes = {f"storm {chosen.broker} {chosen.store}": outcome}
    if chosen.beside:
        compared = compare(_emptied(f"{chosen.broker} beside"), chosen.broker, chosen.seed)
        outcomes["storm beside the textbook"] = compared
        say(compared.told())
    if chosen.write:
        _write(outcomes)
    return int(not all(outcome.kept for outcome in outcomes.values()))


def _write(outcomes: Mapping[str, Outcome]) -> None:
    head = f"Run of {report.today()}, {os.cpu_count()} cores, load average {os.getloadavg()[1]:.0f}:"
    for section, outcome in outcomes.items():
        report.write(section, [head, "", "```", *outcome.told(), "```"])


def _emptied(name: str) -> Path:
    """Return a folder; what a run leaves in it stays until the next of that name."""
    shutil.rmtree(WORK / name, ignore_errors=True)
    return WORK / name


@contextmanager
def _installed(folder: Path, broker: Broker, store: Store) -> Iterator[Installation]:
    """Run the system there; no process of it is left."""
    system = Installation.at(folder, SETTINGS, ("--broker", broker, "--store", store))
    looked = system.outrigger("doctor", *system.choice)
    if missing := [line for line in looked.stdout.splitlines() if line.startswith("BAD")]:
        raise SystemExit("\n".join(missing))
    system.up()
    try:
        yield system
    finally:
        system.down()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make storm", description=__doc__)
    parser.add_argument("--broker", type=Broker, choices=list(Broker), default=Broker.REDIS)
    parser.add_argument("--store", type=Store, choices=list(Store), default=Store.SQLITE)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--orders", type=int, default=2000)
    parser.add_argument("--rate", type=float, default=0.0, help="orders a second; by itself as many as the kills allow")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--beside", action="store_true", help="and a short one on the textbook's service and ours")
    parser.add_argument("--write", action="store_true", help="into docs/reliability.md")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
