"""`make bench`: the real orders service and three baselines in turn, then orders all the way to confirmed.

One sampling rate, one store, one broker, one set of sidecar flags for all: those of `outrigger up`. Rounds are
interleaved, so that a noisy neighbour meets everyone.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml
from rich.console import Console

from load import copies
from load.contenders import GATEWAY, NOOP, OURS, SYSTEM, TEXTBOOK, TUNED
from load.measure import CLIENTS, LINES, Result, measure
from load.report import NAMES, save, show
from load.stage import Broken, Stage, staged
from outrigger.errors import LauncherError
from outrigger.home import find_home
from outrigger.instance import claim

COMPLETED_ORDERS = 2500
WARM_ORDERS = 200
CONTENDERS = (OURS, TEXTBOOK, TUNED, NOOP)


async def bench(root: Path, given: argparse.Namespace, console: Console) -> None:
    """Measure, show, keep."""
    accepted = await accept_rounds(root, given, console)
    completed = await complete_rounds(root, given, console) if given.completed else []
    save(root / ".outrigger" / "bench.json", accepted, completed)
    show(console, accepted, completed)


async def accept_rounds(root: Path, given: argparse.Namespace, console: Console) -> dict[str, list[Result]]:
    """Measure everyone in turn, several times."""
    chosen = [c for c in CONTENDERS if not given.only or NAMES.get(c.name, c.name) in given.only]
    results: dict[str, list[Result]] = {NAMES.get(c.name, c.name): [] for c in chosen}
    async with staged(root, chosen) as stage:
        if OURS in chosen:
            await copies.tell(stage.places[OURS.name])
        for number in range(given.rounds):
            for contender in chosen:
                result = await _warmed(stage, contender.name, given.warm, seconds=given.seconds)
                results[NAMES.get(contender.name, contender.name)].append(result)
                console.print(
                    f"round {number + 1}  {contender.name:9} {result.per_second:7.0f} accepted/s", style="dim"
                )
    return results


async def complete_rounds(root: Path, given: argparse.Namespace, console: Console) -> list[Result]:
    """Measure orders from the gateway to confirmed, with all services, their sidecars and the bank running."""
    results = []
    async with staged(root, SYSTEM) as stage:
        await copies.known(stage.places[OURS.name])
        await measure(stage, GATEWAY.name, seconds=60, count=WARM_ORDERS, status="confirmed")
        for number in range(given.rounds):
            result = await measure(stage, GATEWAY.name, seconds=60, count=COMPLETED_ORDERS, status="confirmed")
            results.append(result)
            console.print(f"round {number + 1}  system    {result.per_second:7.0f} completed/s", style="dim")
    return results


async def _warmed(stage: Stage, name: str, warm: float, *, seconds: float) -> Result:
    await measure(stage, name, seconds=warm)  # which ends when all that it began is stored and published
    return await measure(stage, name, seconds=seconds)


def _conditions(root: Path) -> str:
    sampling = yaml.safe_load((root / "dapr" / "config.yaml").read_text())["spec"]["tracing"]["samplingRate"]
    return (
        f"{CLIENTS} closed-loop clients, {LINES} lines an order, one process each, a real daprd each, SQLite, Valkey, "
        f"sampling {sampling}; {os.cpu_count()} cores for everything, load average {os.getloadavg()[0]:.1f}"
    )


def _arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0, help="of a measurement")
    parser.add_argument("--warm", type=float, default=2.0, help="seconds of warm-up before each")
    parser.add_argument("--only", nargs="*", choices=("ours", "textbook", "tuned", "noop"))
    parser.add_argument("--no-completed", dest="completed", action="store_false")
    return parser.parse_args(argv)


def main() -> None:
    """Run it; a missed expectation is printed, only a failure is an error."""
    given, console, root = _arguments(), Console(), find_home().root
    try:
        lock = claim(root)
        console.print(_conditions(root), soft_wrap=True)
        asyncio.run(bench(root, given, console))
        lock.release()
    except (Broken, LauncherError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
