"""The same storm on the documented way and on ours: a service, its sidecar and the broker, and what is left of orders.

The same load, the same moments, the same customers, who repeat what is not answered under the same key. That is all
that a customer can do: the documented way looks at no key, so who was not answered may have ordered, and who asks
again may order twice. The listener of the documented way is never struck.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from brokers.whole import broker_of
from storm import textbook
from storm.ledger import created
from storm.plan import Plan, plan
from storm.strikes import Weather
from storm.verdict import Line, Outcome
from storm.whole import ANSWERED_WITHIN, LEASE, ORDER_DEADLINE, QUIET_WITHIN, SETTINGS
from support.installation import Installation
from verify.shoppers import DOOR, Shoppers

KILLS, ORDERS, RATE = 12, 1000, 16.0  # so each is struck as often as one of all roles is in a storm over all
OURS = "orders"


@dataclass(frozen=True, slots=True)
class Left:
    """What a storm has left. Every figure but the first three should be 0."""

    requests: int
    repeated: int
    wait: float
    unanswered: int
    undocumented: int
    untold: int
    surplus: int
    half: int

    @classmethod
    def of(cls, crowd: Shoppers, stored: set[str], heard: set[str]) -> "Left":
        """Compare what customers were told with what is there."""
        accepted = set(crowd.placed)
        return cls(
            requests=crowd.offered,
            repeated=sum(order.tries - 1 for order in crowd.placed.values()),
            wait=crowd.waits(99),
            unanswered=crowd.offered - len(accepted),
            undocumented=len(accepted - stored),
            untold=len(accepted - heard),
            surplus=max(0, len(stored) - crowd.offered),
            half=len(stored - accepted - heard),
        )


ROWS = (
    ("requests", "requests for an order"),
    ("repeated", "repeated, as no answer came or a 5xx"),
    ("wait", "p99 until accepted, s"),
    ("unanswered", "never accepted"),
    ("undocumented", "accepted, and not in the store"),
    ("untold", "accepted, and no consumer heard of it"),
    ("surplus", "orders in the store beyond one a request"),
    ("half", "in the store, and neither customer nor consumer heard of it"),
)


def compare(folder: Path, broker: str, seed: int, kills: int = KILLS, orders: int = ORDERS) -> Outcome:
    """Run both; the outcome judges ours only."""
    choice = ("--broker", broker, "--store", "sqlite")

    def planned(system: Installation, service: str) -> Plan:
        struck = (f"{service}.app", f"{service}.daprd", broker_of(system))
        return plan(seed, struck, broker=struck[-1], kills=kills, orders=orders, lease=LEASE, rate=RATE)

    documented = _documented(textbook.installed(folder / "documented", *choice), planned)
    ours = _ours(Installation.at(folder / "ours", SETTINGS, choice), planned)
    head = f"{orders} orders on {broker}, seed {seed}, {kills} kills of the service, its sidecar and the broker:"
    faults = [f"{text}: {getattr(ours, name)}" for name, text in ROWS[3:] if getattr(ours, name)]
    return Outcome(head, list(table(documented, ours)), [Line("ours: no order lost, untold or doubled", faults)])


def table(documented: Left, ours: Left) -> Iterator[str]:
    """Draw both side by side."""
    width = max(len(text) for _, text in ROWS)
    yield f"{'':{width}}  as documented  ours"
    for name, text in ROWS:
        figures = (getattr(documented, name), getattr(ours, name))
        yield f"{text:{width}}  {figures[0]:13.4g}  {figures[1]:4.4g}"


Planned = Callable[[Installation, str], Plan]


def _documented(system: Installation, planned: Planned) -> Left:
    system.up()
    try:
        url = system.service(textbook.NAME).app_url
        crowd = asyncio.run(_rage(system, planned(system, textbook.NAME), textbook.NAME, url, textbook.DOOR))
        system.settle()
        stored = textbook.stored(system)
        return Left.of(crowd, stored, textbook.heard(system, stored | crowd.placed.keys()))
    finally:
        system.down()


def _ours(system: Installation, planned: Planned) -> Left:
    system.up()
    try:
        crowd = asyncio.run(_rage(system, planned(system, OURS), OURS, system.run.gateway, DOOR))
        system.settle()
        found = system.audit(deadline=2 * ORDER_DEADLINE, within=QUIET_WITHIN)
        assert found["clean"], found["violations"]
        return Left.of(crowd, *asyncio.run(created(system)))
    finally:
        system.down()


async def _rage(system: Installation, plan: Plan, service: str, url: str, door: str) -> Shoppers:
    async with Shoppers.at(url, looking=False, door=door) as crowd:
        raging = asyncio.create_task(Weather(system, service).rage(plan, LEASE))
        await crowd.come(plan.rate, asyncio.Event(), plan.orders)
        await raging
        await crowd.all_answered(ANSWERED_WITHIN)
    return crowd
