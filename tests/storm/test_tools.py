"""That a storm is what its seed says, and that what judges it sees."""

import itertools
import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from chassis_testing.sidecars import untested
from storm.beside import Left
from storm.plan import CALM, RATE, SPACE, Kind, Plan, plan
from storm.verdict import Line, Outcome
from support.polling import eventually
from verify import commits
from verify.shoppers import Placed, Shoppers

ROLES = ("orders.app", "orders.daprd", "gateway.app", "gateway.daprd", "bank", "valkey")
LEASE = 3.0


def planned(seed: int = 7, *, kills: int = 60, orders: int = 2000) -> Plan:
    return plan(seed, ROLES, broker="valkey", kills=kills, orders=orders, lease=LEASE)


def test_a_seed_is_one_storm_and_another_is_another() -> None:
    assert planned(7) == planned(7)
    assert planned(7).strikes != planned(8).strikes


def test_every_role_is_killed_as_often_and_a_third_in_a_commit() -> None:
    kills = [strike for strike in planned().strikes if strike.kind is Kind.KILL]
    assert Counter(strike.role for strike in kills) == dict.fromkeys(ROLES, 10)
    assert sum(strike.aimed for strike in kills) == 20


def test_every_role_is_stopped_for_longer_than_the_lease_and_for_less() -> None:
    pauses = [strike for strike in planned().strikes if strike.kind is Kind.PAUSE]
    for role in ROLES:
        assert {strike.lasts > LEASE for strike in pauses if strike.role == role} == {True, False}


def test_the_bank_has_every_kind_of_bad_day_one_at_a_time_and_the_broker_is_wiped() -> None:
    strikes = planned().strikes
    days = [strike for strike in strikes if strike.kind is Kind.BANK]
    assert {strike.mode for strike in days} == {"slow", "fail", "decline", "down"}
    assert all(first.at + first.lasts < then.at for first, then in itertools.pairwise(days))
    assert [strike.role for strike in strikes if strike.kind is Kind.WIPE] == ["valkey"]


def test_all_is_over_before_the_last_order_comes_and_the_kills_have_their_time() -> None:
    short, long = planned(kills=40, orders=2000), planned(kills=200, orders=20_000)
    for storm in (short, long):
        assert all(strike.at >= CALM and strike.at + strike.lasts <= storm.seconds for strike in storm.strikes)
    assert short.seconds == 40 * SPACE
    assert long.rate == RATE


def test_one_broken_promise_is_a_broken_storm() -> None:
    outcome = Outcome("head", ["figure"], [Line("kept"), Line("broken", [f"case {n}" for n in range(12)])])
    assert not outcome.kept
    assert list(outcome.told())[:4] == ["head", "    figure", "    PASS  kept", "    MISS  broken"]
    assert "... and 2 more" in list(outcome.told())[-1]


def test_what_is_lost_untold_half_done_or_doubled_is_counted() -> None:
    crowd = Shoppers("http://127.0.0.1:1", offered=4)
    crowd.placed = {name: Placed(0.0, 0.5, tries=2) for name in ("fine", "lost", "untold")}
    left = Left.of(crowd, {"fine", "untold", "twice", "again", "half"}, {"fine", "lost", "twice", "again"})
    counts = (left.repeated, left.unanswered, left.undocumented, left.untold, left.surplus, left.half)
    assert counts == (3, 1, 1, 1, 1, 1)


@pytest.fixture(params=["COMMIT", "idle in transaction", "idle", "SELECT"])
def connection(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run a process that calls itself what a connection's does."""
    if not Path("/proc/self/cmdline").exists():
        untested("processes are not shown as files, so a commit of PostgreSQL cannot be seen from outside")
    title = f"postgres: orders orders 127.0.0.1(5432) {request.param}"
    with subprocess.Popen([title], executable="/bin/cat", stdin=subprocess.PIPE) as process:
        shown = Path(f"/proc/{process.pid}/cmdline")
        eventually(lambda: shown.read_text().startswith(title), within=30, what="the kernel shows its name")
        yield request.param
        process.terminate()


def test_a_connection_that_writes_is_told_from_one_that_does_not(connection: str) -> None:
    assert commits.in_database(os.getpid(), "orders") is (connection in commits.WRITING)
    assert not commits.in_database(os.getpid(), "payments")
