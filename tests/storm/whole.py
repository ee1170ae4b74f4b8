"""One storm over the whole system: what is seen by its customers, in its ledgers, and by its auditor."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from storm import strikes
from storm.ledger import created
from storm.plan import Plan
from storm.strikes import Weather
from storm.verdict import Line, Outcome
from support.installation import Installation
from verify.shoppers import Shoppers

LEASE = 3.0
ORDER_DEADLINE = 20.0
SETTINGS = {
    "ORDER_DEADLINE_SECONDS": str(ORDER_DEADLINE),
    "RESERVATION_DEADLINE_SECONDS": "15",
    "LEASE": str(LEASE),
}
ANSWERED_WITHIN = 240.0  # s after the last order came: a circuit may be open for 30, more than once, and many wait
END_WITHIN = 30.0  # s after the last was accepted
QUIET_WITHIN = 240.0
ONCE_MORE = 1000  # keys at most that are asked for again
AT_ONCE = 8
LOOKS_ON = {"zipkin"}
REPAIRED = "events that the broker did not bring are fetched"


def roles(system: Installation) -> list[str]:
    """Name everything that takes part."""
    return [state.name for state in system.run.processes() if state.name not in LOOKS_ON]


def storm(system: Installation, plan: Plan) -> Outcome:
    """Let it rage and judge."""
    weather = Weather(system)
    crowd, lines = asyncio.run(_rage(system, plan, weather))
    system.settle()
    orders, _ = asyncio.run(created(system))
    found = system.audit(deadline=2 * ORDER_DEADLINE, within=QUIET_WITHIN)
    lines += [_once_each(crowd, orders), _audited(found)]
    return Outcome(_head(system, plan), list(_figures(system, plan, weather, crowd, found)), lines)


async def _rage(system: Installation, plan: Plan, weather: Weather) -> tuple[Shoppers, list[Line]]:
    async with Shoppers.at(f"http://127.0.0.1:{system.port}") as crowd:
        raging = asyncio.create_task(weather.rage(plan, LEASE))
        await crowd.come(plan.rate, asyncio.Event(), plan.orders)
        await raging
        unheard = await crowd.all_answered(ANSWERED_WITHIN)
        late = await crowd.all_ended(END_WITHIN)
        if not unheard and not late:
            await _look_back(crowd)
    return crowd, [
        Line(f"all {crowd.offered} orders were accepted", [f"{unheard} were not"] if unheard else []),
        Line(f"every one has ended {END_WITHIN:.0f} s after the last was accepted", late),
        Line(
            "each is there, no status went back, no read missed what was accepted, a key asked again is the same order",
            crowd.wrong,
        ),
    ]


async def _look_back(crowd: Shoppers) -> None:
    names = list(crowd.placed)
    again = sorted(names, key=lambda name: -crowd.placed[name].tries)[:ONCE_MORE]
    for ask, some in ((crowd.look_back, names), (crowd.once_more, again)):
        await asyncio.gather(*(ask(some[start::AT_ONCE]) for start in range(AT_ONCE)))


def _once_each(crowd: Shoppers, orders: set[str]) -> Line:
    """Judge by the ledger, which also has what no customer was told of."""
    lost = [f"{name} was accepted and is not in the ledger" for name in crowd.placed.keys() - orders]
    extra = [f"{name} is in the ledger, and is nobody's" for name in orders - crowd.placed.keys()]
    extra = extra[crowd.offered - len(crowd.placed) :]  # who was never answered may have one all the same
    return Line(f"one key is one order: {len(crowd.placed)} keys, {len(orders)} orders in the ledger", [*lost, *extra])


def _audited(found: dict[str, Any]) -> Line:
    read = (
        f"{found['events']} events, {found['receipts']} receipts, {found['payments']} payments, {found['mails']} mails"
    )
    return Line(f"the audit finds nothing lost, doubled (stock, charge, mail) or open ({read})", found["violations"])


def _head(system: Installation, plan: Plan) -> str:
    _, broker, _, store = system.choice
    return f"{broker} and {store}, seed {plan.seed}: {plan.orders} orders at {plan.rate:.0f}/s, {plan.seconds:.0f} s"


def _figures(
    system: Installation, plan: Plan, weather: Weather, crowd: Shoppers, found: dict[str, Any]
) -> Iterator[str]:
    yield from strikes.told(weather)
    ends = Counter(order.status for order in crowd.placed.values())
    yield "orders: " + ", ".join(f"{count} {status}" for status, count in sorted(ends.items()))
    yield f"accepted after p50 {crowd.waits(50):.2f} s, p99 {crowd.waits(99):.2f} s"
    failures = ", ".join(f"{count} {what}" for what, count in crowd.failures().items()) or "none"
    yield f"failures on the way: {failures}; answers marked as old: {crowd.stale}"
    restarts = sum(state.restarts for state in system.run.processes())
    yield f"{restarts} restarts, {repaired(system)} events repaired, {found['dead_letters']} open dead letters"


def repaired(system: Installation) -> int:
    """Count the events that were fetched from producers' journals; the log outlives its process."""
    lines = (line for log in system.home.logs.glob("*.app.log") for line in log.read_text().splitlines())
    return sum(json.loads(line)["events"] for line in lines if REPAIRED in line)
