"""`make simulate`: SEEDS=n runs that many, SEED=n replays one and prints its history."""

import argparse
import sys

from simulation import campaign, report
from simulation.plan import Plan, plan
from simulation.run import simulate
from simulation.shrink import Shrinking


def main() -> int:
    """Run; returns the exit status."""
    parser = argparse.ArgumentParser(prog="simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--seed", type=int, help="replay this one, and print its history")
    parser.add_argument("--small", action="store_true", help="with --seed: make it as small as it fails")
    parser.add_argument("--write", action="store_true", help="into docs/reliability.md")
    chosen = parser.parse_args()
    if chosen.seed is not None:
        return _replay(plan(chosen.seed), small=chosen.small)
    tally = campaign.run(range(chosen.first, chosen.first + chosen.seeds), progress=sys.stderr)
    sys.stderr.write("\n")
    campaign.say(tally.told())
    if chosen.write:
        report.write("simulation", report.campaign(tally))
    if tally.failed:
        _replay(plan(min(tally.failed)), small=True)
        return 1
    if tally.never:
        campaign.say([f"FAILED: these troubles never struck, so nothing is known of them: {', '.join(tally.never)}"])
        return 1
    campaign.say(["clean: nothing lost, nothing twice, every order ended"])
    return 0


def _replay(chosen: Plan, *, small: bool) -> int:
    if small and simulate(chosen).wrong:
        chosen = Shrinking(chosen).run()
    outcome = simulate(chosen, digest=True, history=True)
    campaign.say(outcome.history)
    campaign.say([f"\nseed {chosen.seed}, history {outcome.digest[:16]}, {dict(outcome.orders)}"])
    campaign.say([*map(str, chosen.wishes if small else ()), *map(str, chosen.acts), *map(str, chosen.troubles)])
    campaign.say([f"WRONG: {each}" for each in outcome.wrong] or ["nothing is wrong"])
    return int(bool(outcome.wrong))


if __name__ == "__main__":
    raise SystemExit(main())
