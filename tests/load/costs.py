"""What brokers, replicas, walks and age cost: `make bench-brokers`, `bench-replicas`, `bench-walks`, `bench-age`.

`brokers`   orders to their end on each broker, in turn; the slowest as a share of the fastest
`replicas`  orders to their end with three replicas of each service and with one, in turn; commits and conflicts
`walks`     CPU an order at a steady rate with the walks over others' journals, and with hardly any, in turn
`age`       CPU and bytes an order, thousand by thousand: an old system must be no dearer than a new one
"""

import argparse
import asyncio
import os
import re
import sqlite3
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median

import aiohttp

from load import copies
from load.contenders import GATEWAY, OURS, SYSTEM
from load.effects import Streams
from load.measure import Result, effects_of, measure
from load.stage import Broken, Stage, staged
from outrigger.choice import Broker, Choice
from outrigger.errors import LauncherError
from outrigger.home import find_home
from outrigger.instance import claim
from verify.shoppers import Shoppers

WARM = 300
CHUNK = 1000
FIGURE = re.compile(r"^outrigger_(commits|conflicts)_total{[^}]*} (\S+)$", re.MULTILINE)
SERVERS = {"valkey", "rabbitmq", "epmd", "kafka"}
SHARE = 0.5  # of the fastest broker's rate, that the slowest should carry
SELDOM = {"WALK_EVERY": "3600"}
PARTS = (".app", ".daprd")
PAGES = ("page_count", "freelist_count", "page_size")
SETTLED = 120.0  # s


def ours(result: Result) -> float:
    """Sum the CPU an order of apps and sidecars, in ms."""
    return 1000 * sum(cost for name, cost in result.cpu.items() if name.endswith(PARTS))


async def whole(stage: Stage, count: int) -> Result:
    """Drive orders from the gateway to their end."""
    return await measure(stage, GATEWAY.name, seconds=300, count=count, status="confirmed")


async def figures(stage: Stage) -> dict[str, Counter[str]]:
    """Ask every replica for its commits and conflicts; returns the sums by service."""
    found: dict[str, Counter[str]] = {}
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as http:
        for place in stage.places.values():
            async with http.get(f"{place.app_url}/metrics") as answer:
                for name, value in FIGURE.findall(await answer.text()):
                    found.setdefault(place.contender.name, Counter())[name] += int(float(value))
    return found


async def brokers(root: Path, given: argparse.Namespace) -> None:
    """Compare the brokers."""
    rates: dict[Broker, list[float]] = {broker: [] for broker in Broker}
    for number in range(given.rounds):
        for broker, seen in rates.items():
            async with staged(root, SYSTEM, choice=Choice(broker)) as stage:
                await copies.known(stage.places[OURS.name])
                await whole(stage, WARM)
                result = await whole(stage, given.orders)
            seen.append(result.per_second)
            own = 1000 * sum(cost for name, cost in result.cpu.items() if name in SERVERS)
            say(f"round {number + 1}  {broker:9}{result.per_second:5.0f} orders/s  {ours(result):5.1f} ms CPU an order")
            say(f"         the broker's own {own:.1f} ms; {result.neighbours:.2f} cores used by others")
    slowest, fastest = (pick(rates, key=lambda broker: median(rates[broker])) for pick in (min, max))
    share = median(rates[slowest]) / median(rates[fastest])
    word = "PASS" if share >= SHARE else "MISS"
    say(f"{word}  {slowest}, the slowest, carries {share:.0%} of what {fastest} does; expected {SHARE:.0%}")


async def replicas(root: Path, given: argparse.Namespace) -> None:
    """Compare one replica with several."""
    services = given.services or [each.name for each in SYSTEM if each != GATEWAY]
    rates: dict[int, list[float]] = {1: [], given.replicas: []}
    for number in range(given.rounds):
        for count, seen in rates.items():
            async with staged(root, SYSTEM, replicas=dict.fromkeys(services, count)) as stage:
                await copies.known(stage.places[OURS.name])
                await whole(stage, WARM)
                before = await figures(stage)
                result = await whole(stage, given.orders)
                seen.append(result.per_second)
                say(f"round {number + 1}  {count} replicas  {result.per_second:5.0f} orders/s  "
                    f"{ours(result):5.1f} ms CPU an order  {result.neighbours:.2f} cores used by others")  # fmt: skip
                say("         " + conflicts(before, await figures(stage)))
    ratio = median(rates[given.replicas]) / median(rates[1])
    say(f"{given.replicas} replicas of {', '.join(services)} carry {ratio:.0%} of what one does; expected 70 %")


def conflicts(before: Mapping[str, Counter[str]], after: Mapping[str, Counter[str]]) -> str:
    """Tell the conflicts a commit, by service."""
    told = []
    for name, counts in after.items():
        new = counts - before.get(name, Counter())
        told.append(f"{name} {new['conflicts'] / max(new['commits'], 1):.2f} of {new['commits']}")
    return "conflicts a commit: " + ", ".join(told)


async def walks(root: Path, given: argparse.Namespace) -> None:
    """Compare the cost with walks and with hardly any."""
    costs: dict[str, list[float]] = {"with walks": [], "without": []}
    for number in range(given.rounds):
        for name, seen in costs.items():
            env = SELDOM if name == "without" else {}
            cast = [replace(each, env={**each.env, **env}) for each in SYSTEM]
            async with staged(root, cast) as stage:
                await copies.known(stage.places[OURS.name])
                await steadily(stage, given.rate, 5.0)
                seen.append(await steadily(stage, given.rate, given.seconds))
                say(f"round {number + 1}  {name:10} {seen[-1]:6.2f} ms CPU an order at {given.rate:.0f} orders/s")
    share = 1 - median(costs["without"]) / median(costs["with walks"])
    say(f"walks take {share:.1%} of the CPU of apps and sidecars")


async def steadily(stage: Stage, rate: float, seconds: float) -> float:
    """Let orders come at a rate, and end; returns the CPU an order of apps and sidecars, in ms."""
    streams = Streams(stage.broker_port)
    (confirmed,) = effects_of(stage, GATEWAY, streams, "confirmed")
    before, cpu = confirmed.count(), spent(stage)
    async with Shoppers.at(stage.places[GATEWAY.name].app_url, looking=False) as crowd:
        enough = asyncio.Event()
        asyncio.get_running_loop().call_later(seconds, enough.set)
        await crowd.come(rate, enough)
        async with asyncio.timeout(SETTLED):
            while crowd.asking or confirmed.count() - before < len(crowd.placed):
                await asyncio.sleep(0.5)
        return 1000 * (spent(stage) - cpu) / len(crowd.placed)


def spent(stage: Stage) -> float:
    """Sum the CPU seconds of apps and sidecars."""
    return sum(sum(p.cpu_times()[:2]) for name, p in stage.processes().items() if name.endswith(PARTS))


async def age(root: Path, given: argparse.Namespace) -> None:
    """Drive many orders and look at each thousand."""
    cast = [replace(each, env={**each.env, "MARKS_KEPT": str(given.kept)}) for each in SYSTEM]
    async with staged(root, cast) as stage:
        await copies.known(stage.places[OURS.name])
        await whole(stage, WARM)
        costs: list[float] = []
        done, held = 0, sizes(stage)
        while done < given.orders:
            result = await whole(stage, CHUNK)
            done += CHUNK
            costs.append(ours(result))
            say(f"{done:7} orders  {costs[-1]:6.2f} ms CPU an order  {result.per_second:4.0f} orders/s  "
                f"{(sum(sizes(stage).values()) - sum(held.values())) / done / 1024:6.1f} KiB an order")  # fmt: skip
        grown = {name: (size - held[name]) / done / 1024 for name, size in sizes(stage).items()}
        say("KiB an order: " + ", ".join(f"{name} {size:.1f}" for name, size in sorted(grown.items())))
        part = max(1, len(costs) // 4)
        say(f"the last quarter costs {median(costs[-part:]) / median(costs[:part]):.2f} times the first")


def sizes(stage: Stage) -> dict[str, int]:
    """Say how many bytes of each store are in use: pages that were freed are used again."""
    return {each.name: used(stage.database(each)) for each in SYSTEM if each != GATEWAY}


def used(database: Path) -> int:
    """Count the bytes of a file's pages that hold something."""
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=20)
    try:
        pages, free, size = (connection.execute(f"PRAGMA {each}").fetchone()[0] for each in PAGES)
        return (pages - free) * size
    finally:
        connection.close()


def say(line: str) -> None:
    """Print at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="load.costs", description=__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True)
    kind = kinds.add_parser("brokers")
    kind.add_argument("--rounds", type=int, default=3)
    kind.add_argument("--orders", type=int, default=1500)
    kind = kinds.add_parser("replicas")
    kind.add_argument("--replicas", type=int, default=3)
    kind.add_argument("--services", nargs="*", help="of these alone, as inventory")
    kind.add_argument("--rounds", type=int, default=3)
    kind.add_argument("--orders", type=int, default=2000)
    kind = kinds.add_parser("walks")
    kind.add_argument("--rounds", type=int, default=3)
    kind.add_argument("--rate", type=float, default=100.0)
    kind.add_argument("--seconds", type=float, default=30.0)
    kind = kinds.add_parser("age")
    kind.add_argument("--orders", type=int, default=10_000)
    kind.add_argument("--kept", type=float, default=30.0, help="seconds for which marks are kept")
    return parser.parse_args()


def main() -> None:
    """Run it."""
    given, root = _arguments(), find_home().root
    try:
        lock = claim(root)
        say(f"{os.cpu_count()} cores for everything, load average {os.getloadavg()[0]:.1f}")
        asyncio.run({"brokers": brokers, "replicas": replicas, "walks": walks, "age": age}[given.kind](root, given))
        lock.release()
    except (Broken, LauncherError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
