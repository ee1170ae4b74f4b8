"""The alerts: what they look at exists, each has its runbook, and each runbook its alert."""

import asyncio
import json
import re
import subprocess
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field

from chassis.operations.circuits import State
from chassis.operations.operators import Operators
from chassis.process import Settings
from chassis.service import Service
from chassis_testing.memory import MemoryBroker, MemorySidecar, MemoryStore
from delivery.members import ROOT, members, services
from orders.main import service as orders
from outrigger.home import Home
from outrigger.runtime_build import tool

MONITORING = ROOT / "k8s/monitoring"
PAGE = (ROOT / "docs/operations.md").read_text()
GIVEN = {"job", "service", "pod", "instance"}  # labels that scrape.yaml gives to every series
FOREIGN: dict[str, set[str]] = {
    "up": set(),  # Prometheus' own, one for each target
    # Sentry's: pkg/sentry/monitoring/metrics.go of dapr 1.14.0, under the name space of pkg/metrics/exporter.go
    "dapr_sentry_issuercert_expiry_timestamp": set(),
}
Duration = Annotated[str, Field(pattern=r"^\d+[smh]$")]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class Labels(Strict):
    severity: Literal["critical", "warning"]


class Annotations(Strict):
    summary: str = Field(min_length=10, max_length=150)
    runbook: str


class Rule(Strict):
    alert: str = Field(pattern=r"^Outrigger[A-Z][A-Za-z]+$")
    expr: str
    lasting: Duration = Field(default="0s", alias="for")
    labels: Labels
    annotations: Annotations


class Group(Strict):
    name: str = Field(pattern=r"^outrigger-[a-z]+$")
    rules: list[Rule] = Field(min_length=1)


class Spec(Strict):
    groups: list[Group] = Field(min_length=1)


class PrometheusRule(Strict):
    """The operator's resource, as far as it is used here."""

    api_version: Literal["monitoring.coreos.com/v1"] = Field(alias="apiVersion")
    kind: Literal["PrometheusRule"]
    metadata: dict[str, Any]
    spec: Spec


def rules() -> list[Rule]:
    found = PrometheusRule.model_validate(yaml.safe_load((MONITORING / "alerts.yaml").read_text()))
    return [rule for group in found.spec.groups for rule in group.rules]


RULES = rules()


def looked_at(*expressions: str) -> list[list[dict[str, Any]]]:
    """Return the series of each expression, as Prometheus' own parser reads it. Raises for what it cannot read."""
    program = tool(Home(ROOT), "tools-ci", "promql")
    done = subprocess.run([program], input=json.dumps(expressions), capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(done.stderr)
    return json.loads(done.stdout)


async def told() -> dict[str, set[str]]:
    """Return the series that a service tells, with their labels, of a real one that has seen a bit of everything."""
    sidecar = MemorySidecar(MemoryStore(), MemoryBroker())
    service = Service("orders", orders.rules, settings=Settings(), sidecar=sidecar)
    async with service.app.router.lifespan_context(service.app):
        assert service.engine
        await service.engine.ready.wait()
        async with asyncio.timeout(10):
            while service.engine.main is None or service.engine.main.relay is None:
                await asyncio.sleep(0.01)
        service.sidecar.circuits.heard("bank", "authorize", 1.0, 500, b"ERR_DIRECT_INVOKE circuit breaker is open")
        assert service.walker
        service.walker.repaired["users"], service.walker.lag["users"] = 1, 0
        service.deliveries["users"] = 1
        body = (await Operators(service).metrics()).body
    assert isinstance(body, bytes)
    found: dict[str, set[str]] = {}
    for name, labels in re.findall(r"(?m)^([a-z_]+)(?:\{(.*)\})? ", body.decode()):
        found.setdefault(name, set()).update(re.findall(r'(\w+)="', labels))
    return found


async def test_every_series_and_label_is_one_that_is_told() -> None:
    known = await told()
    assert len(known) > 10
    for rule, series in zip(RULES, looked_at(*(rule.expr for rule in RULES)), strict=True):
        assert series, rule.alert
        for one in series:
            labels = known.get(one["name"]) if one["name"] in known else FOREIGN[one["name"]]
            assert set(one["labels"]) <= (labels or set()) | GIVEN, (rule.alert, one)


async def test_every_series_that_tells_of_trouble_is_looked_at() -> None:
    """The two that are left out count work, and say nothing by themselves."""
    looked = {one["name"] for series in looked_at(*(rule.expr for rule in RULES)) for one in series}
    left = (await told()).keys() - looked
    assert left == {"outrigger_circuit_changes_total", "outrigger_commands_accepted_total"}


@pytest.mark.parametrize("wrong", ["sum by (service (up) == 0", "rate(up) > 1", "up =! 1"])
def test_what_prometheus_could_not_read_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="parse error"):
        looked_at(wrong)


def test_labels_are_found_wherever_they_stand() -> None:
    assert looked_at('sum by (a) (rate(x{b="1"}[5m])) > 0 and on (c) y') == [
        [{"name": "x", "labels": ["a", "b", "c"]}, {"name": "y", "labels": ["c"]}]
    ]


def test_an_alert_names_labels_that_its_expression_leaves() -> None:
    for rule in RULES:
        grouped = re.match(r"^(?:\w+\()?\(?(?:sum|max|min) by \(([^)]*)\)", rule.expr)
        used = set(re.findall(r"\$labels\.(\w+)", rule.annotations.summary))
        if grouped:
            assert used <= {label.strip() for label in grouped[1].split(",")}, rule.alert


def test_the_states_of_a_circuit_are_those_that_are_looked_for() -> None:
    states = {state for rule in RULES for state in re.findall(r'state="([^"]*)"', rule.expr)}
    assert states == {State.OPEN.value}


def test_figures_are_those_that_the_services_are_set_to() -> None:
    chosen, text = Settings(), (MONITORING / "alerts.yaml").read_text()
    assert f"At {chosen.queue_items:,} (QUEUE_ITEMS)" in text
    assert f"At {chosen.backlog_records:,} (BACKLOG_RECORDS)" in text
    assert f"every {chosen.lease / 3:.1f} s (LEASE / 3)" in text


def test_names_are_used_once() -> None:
    assert len({rule.alert for rule in RULES}) == len(RULES)


def test_each_alert_has_its_runbook_and_each_runbook_its_alert() -> None:
    for rule in RULES:
        assert rule.annotations.runbook == f"docs/operations.md#{rule.alert.lower()}"
    headings = re.findall(r"(?m)^### (Outrigger\w+)$", PAGE)
    assert headings == [rule.alert for rule in RULES], "in the order of the file"


def test_every_service_with_a_sidecar_is_scraped_in_the_same_way() -> None:
    jobs = yaml.safe_load((MONITORING / "scrape.yaml").read_text())
    watched = [job["job_name"].removeprefix("outrigger-") for job in jobs]
    assert watched == [service for service in services(members()) if service != "bank"]
    assert [job["job_name"] for job in jobs if "http_headers" not in job] == ["outrigger-gateway"], (
        "the outside has none"
    )
    token = {"dapr-api-token": {"files": ["/etc/prometheus/outrigger/gateway/token"]}}
    jobs[0].setdefault("http_headers", token)
    alike = {json.dumps(job, sort_keys=True).replace(name, "SERVICE") for job, name in zip(jobs, watched, strict=True)}
    assert len(alike) == 1
    given = {relabel["target_label"] for relabel in jobs[0]["relabel_configs"] if "target_label" in relabel}
    assert given | {"instance"} == GIVEN


def test_the_pages_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", PAGE):
        assert (ROOT / "docs" / target).exists(), target


def test_the_pages_commands_are_targets() -> None:
    targets = set(re.findall(r"(?m)^([a-z][a-z-]*):", (ROOT / "Makefile").read_text()))
    assert set(re.findall(r"`make ([a-z-]+)", PAGE)) <= targets


def test_the_pages_variables_are_settings() -> None:
    known = {name.upper() for name in Settings.model_fields}
    assert set(re.findall(r"`([A-Z]+(?:_[A-Z]+)+)`", PAGE)) <= known | variables()


def variables() -> set[str]:
    """Return what the workflows are told by the repository, and the tokens' names, which are Dapr's."""
    files = (ROOT / ".github/workflows").glob("*.yml")
    told = {name for file in files for name in re.findall(r"\b(?:vars|secrets)\.([A-Z_]+)", file.read_text())}
    return told | {"APP_API_TOKEN", "DAPR_API_TOKEN"}


def test_there_is_a_page() -> None:
    assert "docs/operations.md" in (ROOT / "README.md").read_text()
    assert Path(ROOT / "k8s/monitoring/kustomization.yaml").is_file()
