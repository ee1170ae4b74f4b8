"""Each alert's expression finds what it is there for, and nothing when all is well, as Prometheus' own engine says.

Series are written as Prometheus' tests write them: `5x30` is 5 for half an hour, `0+18x30` grows by 18 a minute, `_` is
no sample.
"""

import json
import subprocess
from dataclasses import dataclass

import pytest
import yaml

from delivery.members import ROOT
from outrigger.home import Home
from outrigger.runtime_build import tool

pytestmark = pytest.mark.real

ONE = 'job="outrigger",service="orders",pod="o-1",instance="1"'
TWO = 'job="outrigger",service="orders",pod="o-2",instance="2"'


@dataclass(frozen=True)
class Case:
    """Some series over half an hour, and whether an alert's expression finds anything in them then."""

    alert: str
    fires: bool
    series: tuple[str, ...]
    at: str = "20m"


def fires(alert: str, *series: str, at: str = "20m") -> Case:
    return Case(alert, True, series, at)


def quiet(alert: str, *series: str, at: str = "20m") -> Case:
    return Case(alert, False, series, at)


def told(name: str, values: str, labels: str = "", replica: str = ONE) -> str:
    own = ",".join(filter(None, (replica, labels)))
    return f"{name}{{{own}}} {values}"


def lane(name: str, values: str, replica: str = ONE) -> str:
    return told(f"outrigger_{name}", values, 'lane="0"', replica)


def circuit(state: str, values: str, replica: str = ONE) -> str:
    return told("outrigger_circuit", values, f'target="bank",method="pay",state="{state}"', replica)


def follower(name: str, values: str) -> str:
    return told("outrigger_follower_lag_records", values, f'lane="0",follower="{name}"')


def producer(name: str, values: str, replica: str = ONE) -> str:
    return told(f"outrigger_{name}", values, 'producer="users"', replica)


def brought(topic: str, values: str) -> str:
    return told("outrigger_deliveries_total", values, f'topic="{topic}"')


def expiry(values: str) -> str:
    return f'dapr_sentry_issuercert_expiry_timestamp{{app="dapr-sentry"}} {values}'


CASES = [
    fires("OutriggerServiceSilent", told("up", "0x30"), told("up", "0x30", replica=TWO)),
    quiet("OutriggerServiceSilent", told("up", "0x30"), told("up", "1x30", replica=TWO)),
    fires("OutriggerReplicaSilent", told("up", "0x30"), told("up", "1x30", replica=TWO)),
    quiet("OutriggerReplicaSilent", told("up", "1x30")),
    fires("OutriggerCircuitOpen", circuit("open", "1x30"), circuit("open", "0x30", TWO)),
    quiet("OutriggerCircuitOpen", circuit("open", "0x30"), circuit("closed", "1x30")),
    fires("OutriggerQueueLong", lane("queued", "3500x30")),
    quiet("OutriggerQueueLong", lane("queued", "10x30")),
    fires("OutriggerLaneStandsStill", lane("commits_total", "5x30"), lane("commits_total", "0+18x30", TWO)),
    quiet("OutriggerLaneStandsStill", lane("commits_total", "0+18x30")),
    fires("OutriggerConflicts", lane("conflicts_total", "0+30x30"), lane("commits_total", "0+18x30")),
    quiet("OutriggerConflicts", lane("conflicts_total", "0+1x30"), lane("commits_total", "0+18x30")),
    fires("OutriggerDeadLetters", lane("dead_letters_total", "7x10 8x20")),
    # a lane with seven old letters goes to another pod
    quiet(
        "OutriggerDeadLetters", lane("dead_letters_total", "7x12 _x20"),
        lane("dead_letters_total", "_x13 7x20", TWO),
    ),
    fires("OutriggerFollowerBehind", follower("reactor/send-mail", "2000x30")),
    quiet("OutriggerFollowerBehind", follower("deadline/check", "2000x30"), follower("relay", "2000x30")),
    fires("OutriggerBrokerTakesNothing", lane("backlog_records", "0+20x30"), lane("publish_retries_total", "0+99x30")),
    quiet("OutriggerBrokerTakesNothing", lane("backlog_records", "20x30"), lane("publish_retries_total", "40x30")),
    fires("OutriggerBacklogFull", lane("backlog_records", "30000x30")),
    quiet("OutriggerBacklogFull", lane("backlog_records", "500x30")),
    # a series begins with its first repair, or goes on
    fires("OutriggerBrokerLosesEvents", producer("repaired_events_total", "_x15 3x20"), at="18m"),
    fires("OutriggerBrokerLosesEvents", producer("repaired_events_total", "3x15 5x20")),
    quiet("OutriggerBrokerLosesEvents", producer("repaired_events_total", "_x5 3x40"), at="30m"),
    fires("OutriggerDeliveriesStuck", told("outrigger_deliveries_open", "3x30"), brought("users", "50x30")),
    quiet(
        "OutriggerDeliveriesStuck", told("outrigger_deliveries_open", "3x30"), brought("users", "0+50x30"),
        brought("inventory", "9x30"),
    ),
    fires(
        "OutriggerWalkBehind", producer("walker_lag_records", "6000x30"),
        producer("walker_lag_records", "3x30", TWO),
    ),
    quiet("OutriggerWalkBehind", producer("walker_lag_records", "4x30")),
    fires("OutriggerJournalWentBack", producer("walker_lag_records", "-20x30")),
    quiet("OutriggerJournalWentBack", producer("walker_lag_records", "0x30")),
    fires("OutriggerDaprRootExpires", expiry("2000000x30")),
    quiet("OutriggerDaprRootExpires", expiry("9000000x30")),
]  # fmt: skip


def expressions() -> dict[str, str]:
    groups = yaml.safe_load((ROOT / "k8s/monitoring/alerts.yaml").read_text())["spec"]["groups"]
    return {rule["alert"]: rule["expr"] for group in groups for rule in group["rules"]}


def found(cases: list[Case]) -> list[int]:
    """Return how many series the alerts find."""
    known = expressions()
    asked = [{"load": "\n  ".join(["load 1m", *c.series]), "expr": known[c.alert], "at": c.at} for c in cases]
    program = tool(Home(ROOT), "tools-alerts", "evaluate")
    done = subprocess.run([program], input=json.dumps(asked), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_alert_is_tried_both_ways() -> None:
    for fire in (True, False):
        assert {case.alert for case in CASES if case.fires is fire} == expressions().keys()


@pytest.mark.timeout(600)  # the first time the program is built
def test_an_alert_fires_when_it_should_and_at_no_other_time() -> None:
    wrong = [case for case, count in zip(CASES, found(CASES), strict=True) if (count > 0) is not case.fires]
    assert wrong == []
