"""Anything may happen at any time, on two replicas; afterwards nothing is lost, nothing is doubled, nothing is stuck.

`HYPOTHESIS_PROFILE=thorough` looks longer and elsewhere each time; the default is the same examples every time.
"""

import os
from typing import Any

import pytest
from accounts import Blow, Buy, Close, Deposit, Move, Withdraw
from hypothesis import HealthCheck, Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)  # fmt: skip
from ledger import Peek, Split
from replica import CRASHES, FAULTS, LEASE, Armed, Weather
from trial import Route, Simulation

from chassis_testing.faults import DROPPED, LATE, Fault

COMMON: dict[str, Any] = {
    "deadline": None, "suppress_health_check": list(HealthCheck), "print_blob": True, "report_multiple_bugs": False,
    "phases": (Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
}  # fmt: skip
PROFILES = {
    "default": settings(**COMMON, max_examples=100, stateful_step_count=30, derandomize=True, database=None),
    "thorough": settings(**COMMON, max_examples=5000, stateful_step_count=50),
}
HUNT = settings(PROFILES["default"], max_examples=20_000, phases=(Phase.generate,))
"""To find a planted bug: as the default, without making the example small."""

REPLICAS = st.sampled_from(["a", "b"])
ROUTES = st.sampled_from([("a", "b"), ("b", "a")])
ACCOUNTS = st.sampled_from(["x", "y", "z"])
AMOUNTS = st.sampled_from([1, 2, 3, 40])  # an account begins with 20
COMMANDS = st.one_of(
    st.builds(Deposit, account=ACCOUNTS, amount=AMOUNTS),
    st.builds(Withdraw, account=ACCOUNTS, amount=AMOUNTS),
    st.builds(Move, giver=ACCOUNTS, taker=ACCOUNTS, amount=AMOUNTS),
    st.builds(Buy, account=ACCOUNTS, sku=st.just("s"), limit=st.just(5)),
    st.builds(Peek, account=ACCOUNTS),
    st.builds(Close, account=ACCOUNTS),
    st.builds(Blow, account=ACCOUNTS),
    st.builds(Split, account=ACCOUNTS, other=ACCOUNTS, amount=AMOUNTS),
)
PRICES = st.lists(st.sampled_from([4, 7]), min_size=1, max_size=2)
PURCHASES = st.tuples(st.one_of(st.none(), ACCOUNTS), ROUTES, st.sampled_from([None, LATE, LATE, DROPPED]))
TURNS = st.one_of(st.integers(0, 12), st.sampled_from([0.05, 0.3, 1.1, LEASE, 2 * LEASE]))
ARMS = st.sampled_from([
    (verb, fault) for verb, kinds in FAULTS.items() for fault in (*kinds, *CRASHES[verb], "stall before", "stall after")
])  # fmt: skip


class Purchases(RuleBasedStateMachine):
    """Prices change under those who buy, replicas die, calls are late: few rules, for rare interleavings."""

    def __init__(self) -> None:
        super().__init__()
        self.sim = Simulation()
        self.broken = False

    @initialize(seed=st.integers(0, 2**16), percent=st.sampled_from([0, 5, 20]), crashes=st.sampled_from([0, 1]),
                supervised=st.booleans(), renamed=st.booleans())  # fmt: skip
    def it_begins(self, seed: int, percent: int, crashes: int, supervised: bool, renamed: bool) -> None:
        self.sim.supervised, self.sim.renamed = supervised, renamed
        self.sim.deliver(self.sim.price(3), ("a", "b"))
        for account in ("x", "y", "z"):
            self.sim.order(Deposit(account=account, amount=20), ("a", "b"))
        self.sim.wait(0.05)
        for number, process in enumerate(self.sim.processes.values()):
            process.weather = Weather(seed + number, percent, crashes)

    def _then(self, turns: float) -> None:
        if isinstance(turns, int):
            self.sim.turn(turns)
        else:
            self.sim.wait(turns)

    @rule(purchase=PURCHASES, turns=st.integers(0, 8), prices=PRICES, pause=TURNS, then=TURNS)
    def prices_change_under_a_buyer(
        self, purchase: Any, turns: int, prices: list[int], pause: float, then: float
    ) -> None:
        account, route, fault = purchase
        if fault:
            self.sim.processes[route[0]].armed.append(Armed("transact", 0, fault))
        if account:
            self.sim.order(Buy(account=account, sku="s", limit=5), route)
        else:
            self.sim.buy_once(route)
        self.sim.turn(turns)
        for price in prices:
            self.sim.deliver(self.sim.price(price), route[::-1])
            self._then(pause)
        self._then(then)

    @rule(name=REPLICAS, then=TURNS)
    def a_replica_dies(self, name: str, then: float) -> None:
        self.sim.processes[name].die()
        self._then(then)

    @precondition(lambda self: not all(p.alive for p in self.sim.processes.values()))
    @rule(then=TURNS)
    def the_dead_are_restarted(self, then: float) -> None:
        for name in list(self.sim.processes):
            self.sim.restart(name)
        self._then(then)

    @precondition(lambda self: self.sim.world.store.parked)
    @rule(index=st.integers(0, 9), then=TURNS)
    def a_late_call_lands(self, index: int, then: float) -> None:
        self.sim.land(index)
        self._then(then)

    @rule(seconds=st.sampled_from([0.1, 1.0, LEASE, 3 * LEASE]))
    def time_passes(self, seconds: float) -> None:
        self.sim.wait(seconds)

    @invariant()
    def marks_stay_behind_tails(self) -> None:
        try:
            self.sim.check_heads()
        except AssertionError:
            self.broken = True
            raise

    def teardown(self) -> None:
        try:
            if not self.broken:
                self.sim.finish()
        except AssertionError:
            note(self.sim.story())
            raise
        finally:
            self.sim.close()


class Anything(Purchases):
    """Each rule does something and lets the loop turn a little, or time pass."""

    @rule(orders=st.lists(st.tuples(COMMANDS, ROUTES, st.booleans()), min_size=1, max_size=5), then=TURNS)
    def clients_ask(self, orders: list[Any], then: float) -> None:
        for command, route, once in orders:
            self.sim.order(command, route, insists=not once)
        self._then(then)

    @rule(account=ACCOUNTS, amounts=st.lists(AMOUNTS, min_size=1, max_size=4), route=ROUTES, then=TURNS)
    def money_comes_in(self, account: str, amounts: list[int], route: Route, then: float) -> None:
        for amount in amounts:
            made = self.sim.post("PaymentMade", {"payment": "p", "account": account, "amount": amount})
            self.sim.deliver(made, route)
        self._then(then)

    @rule(kind=st.sampled_from(["AccountFrozen", "Cursed", "Cursed", "unreadable"]), account=ACCOUNTS,
          routes=st.lists(ROUTES, max_size=3), then=TURNS)  # fmt: skip
    def something_else_comes_in(self, kind: str, account: str, routes: list[Route], then: float) -> None:
        match kind:
            case "unreadable":
                made = self.sim.post("PaymentMade", {})
            case _:
                made = self.sim.post(kind, {"payment": "p", "account": account})
        self.sim.deliver(made, *routes)
        self._then(then)

    @rule(amounts=st.lists(st.sampled_from([4, 7]), min_size=1, max_size=3), shuffled=st.randoms(), route=ROUTES,
          pause=TURNS, then=TURNS)  # fmt: skip
    def prices_change(self, amounts: list[int], shuffled: Any, route: Route, pause: float, then: float) -> None:
        made = [self.sim.price(amount) for amount in amounts]
        shuffled.shuffle(made)
        for post in made:
            self.sim.deliver(post, route)
            self._then(pause)
        self._then(then)

    @precondition(lambda self: self.sim.posts)
    @rule(index=st.integers(0, 99), routes=st.lists(ROUTES, min_size=1, max_size=2), then=TURNS)
    def the_broker_brings_it_again(self, index: int, routes: list[Route], then: float) -> None:
        self.sim.deliver(self.sim.posts[index % len(self.sim.posts)], *routes)
        self._then(then)

    @rule(name=REPLICAS, arms=st.lists(st.tuples(ARMS, st.integers(0, 3)), min_size=1, max_size=4), then=TURNS)
    def calls_will_fail(self, name: str, arms: list[Any], then: float) -> None:
        process = self.sim.processes[name]
        for (verb, kind), skip in arms:
            match kind:
                case "stall before":
                    fault = Fault(before=process.stall())
                case "stall after":
                    fault = Fault(after=process.stall())
                case _:
                    fault = kind
            process.armed.append(Armed(verb, skip, fault))
        self._then(then)

    @rule(name=REPLICAS, seed=st.integers(0, 2**16), percent=st.sampled_from([0, 5, 15, 30]),
          crashes=st.sampled_from([0, 0, 1, 4]), then=TURNS)  # fmt: skip
    def the_weather_changes(self, name: str, seed: int, percent: int, crashes: int, then: float) -> None:
        self.sim.processes[name].weather = Weather(seed, percent, crashes)
        self._then(then)

    @rule(name=REPLICAS, then=TURNS)
    def a_replica_freezes(self, name: str, then: float) -> None:
        self.sim.processes[name].gate.clear()
        self._then(then)

    @rule(name=REPLICAS, then=TURNS)
    def a_replica_thaws(self, name: str, then: float) -> None:
        self.sim.processes[name].thaw()
        self._then(then)

    @rule(name=REPLICAS, then=TURNS)
    def a_replica_leaves(self, name: str, then: float) -> None:
        self.sim.leave(name)
        self._then(then)

    @rule(account=st.one_of(st.none(), ACCOUNTS), then=TURNS)
    def the_broker_refuses(self, account: str | None, then: float) -> None:
        self.sim.world.broker.refuse = lambda _topic, entry: entry.event["subject"] == f"account/{account}"
        self._then(then)

    @precondition(lambda self: self.sim.letters())
    @rule(index=st.integers(0, 99), routes=st.lists(ROUTES, min_size=1, max_size=3), fixed=st.booleans(), then=TURNS)
    def a_letter_is_redriven(self, index: int, routes: list[Route], fixed: bool, then: float) -> None:
        self.sim.fixed = fixed
        names = self.sim.letters()
        self.sim.redrive(names[index % len(names)], *routes)
        self._then(then)

    @rule(name=REPLICAS, then=TURNS)
    def the_view_is_rebuilt(self, name: str, then: float) -> None:
        self.sim.rebuild(name)
        self._then(then)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("machine", [Anything, Purchases])
def test_nothing_is_lost_or_doubled_whatever_happens(machine: type[Purchases]) -> None:
    run_state_machine_as_test(machine, settings=PROFILES[os.environ.get("HYPOTHESIS_PROFILE", "default")])
