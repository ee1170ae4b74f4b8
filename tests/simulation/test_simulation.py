"""Some seeds in every check, and the proof that a seed is a history. `make simulate` runs more of them."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from simulation.crash_points import points, run
from simulation.plan import KINDS, Plan, Trouble, Wish, plan
from simulation.run import simulate
from simulation.shrink import Shrinking

PARTS, SEEDS = 20, 160
ROOT = Path(__file__).parents[2]
DIGEST = """
import sys
from simulation.plan import plan
from simulation.run import simulate
print(*(simulate(plan(int(seed)), digest=True).digest for seed in sys.argv[1:]))
"""


@pytest.mark.parametrize("part", range(PARTS))
def test_nothing_is_lost_or_doubled_and_every_order_ends(part: int) -> None:
    failed = {seed: wrong for seed in range(part, SEEDS, PARTS) if (wrong := simulate(plan(seed)).wrong)}
    assert not failed, f"replay with make simulate SEED=...: {failed}"


def test_a_seed_is_the_same_history_in_every_process() -> None:
    seeds = ["5", "11"]
    here = [simulate(plan(int(seed)), digest=True).digest for seed in seeds]
    again = [simulate(plan(int(seed)), digest=True).digest for seed in seeds]
    elsewhere = subprocess.run(
        [sys.executable, "-c", DIGEST, *seeds], env={"PYTHONPATH": "tests"}, cwd=ROOT, capture_output=True, text=True,
        check=True, timeout=100,
    ).stdout.split()  # fmt: skip
    assert here == again == elsewhere
    assert len(set(here)) == len(seeds)


def test_seeds_are_different_and_full() -> None:
    plans = [plan(seed) for seed in range(300)]
    assert len(set(plans)) == len(plans)
    assert min(len(each.wishes) for each in plans) >= 16
    assert min(len(each.troubles) for each in plans) >= 8
    assert {trouble.kind for each in plans for trouble in each.troubles} == set(KINDS)


def test_a_failing_plan_is_made_small() -> None:
    def fails(candidate: Plan) -> bool:
        wanted = any(wish.number == 7 for wish in candidate.wishes)
        return wanted and any(trouble.kind == "bank stopped" for trouble in candidate.troubles)

    trouble = Trouble(1.0, "bank stopped", "bank", seconds=1.0)
    large = replace(plan(3), troubles=(*plan(3).troubles, trouble))
    small = Shrinking(large, fails).run()
    assert (len(small.wishes), len(small.acts), len(small.troubles)) == (1, 0, 1)
    assert isinstance(small.wishes[0], Wish)


def test_an_order_meets_many_crash_points() -> None:
    found, kinds = points()
    assert len(found) >= 150
    assert {verb for kind in kinds for verb in kind.split()[1:]} == {"read", "transact", "publish", "invoke", "bind"}
    wrong = [ran for point in found[::23] if (ran := run(point.flow, point)).wrong]
    assert not wrong, wrong
