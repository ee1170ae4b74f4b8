"""The table, the code, the components and the Configurations say the same."""

import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from starlette.routing import Route

from chassis.reconciliation.journals import METHODS
from chassis.service import EVENTS, Service
from identity import rendered
from identity.table import Table, read
from outrigger.template import read_template
from support.installation import REPOSITORY
from support.system import System

COMPONENTS = sorted((REPOSITORY / "components").rglob("*.yaml"))
ANYBODY = {"/ready", "/status"}  # asked by the gateway of every service, which has these routes from the chassis


@pytest.fixture(scope="module")
def table() -> Table:
    return read()


@pytest.fixture(scope="module")
def services() -> dict[str, Service]:
    return System({}).services


def documents(file: Path) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(file.read_text()) if document]


def routes(service: Service) -> set[str]:
    """Name every operation that a service has."""
    found = {f"POST {path}" for path in service._methods}
    for route in service.app.routes:
        if isinstance(route, Route):
            found |= {f"{verb} {route.path}" for verb in route.methods or ()}
    return found | {f"GET {path}" for path in ANYBODY}


def test_every_app_of_the_run_template_is_in_it(table: Table) -> None:
    assert sorted(table.apps) == sorted(app.app_id for app in read_template(REPOSITORY / "dapr/dapr.yaml").apps)


def test_an_operation_that_is_allowed_exists(table: Table, services: dict[str, Service]) -> None:
    for target, operations in table.targets.items():
        assert set(operations) <= routes(services[target]) | set(_of_the_router(target)), target


def _of_the_router(app: str) -> set[str]:
    """Name the operations that a service's own router adds."""
    service: Service = importlib.import_module(f"{app}.main").service
    schema = service.app.openapi()
    return {f"{verb.upper()} {path}" for path, verbs in schema["paths"].items() for verb in verbs}


def test_what_services_offer_each_other_has_a_caller(table: Table, services: dict[str, Service]) -> None:
    """A method that nobody may call is dead, or missing in the table."""
    for app, service in services.items():
        offered = {f"POST {path}" for path in service._methods} | (_of_the_router(app) if app != "gateway" else set())
        ours = offered - {f"POST {EVENTS}"} - {f"POST {path}" for path in METHODS}
        assert ours <= set(table.targets[app]), app


def test_nobody_may_call_what_is_for_sidecars_and_operators(table: Table) -> None:
    closed = {EVENTS, "/dapr/subscribe", "/dead-letters", "/dead-letter", "/redrive", "/rebuild", "/metrics"}
    assert {call for call in table.calls() if call.path in closed} == set()
    assert table.targets["gateway"] == {}


def test_services_hear_what_they_handle_and_no_more(table: Table, services: dict[str, Service]) -> None:
    for app, service in services.items():
        subscriptions = {each["topic"] for each in service.subscriptions()} if service.engine else set()
        assert set(table.heard(app)) == subscriptions, app


def test_a_topic_is_published_by_its_owner_alone(table: Table) -> None:
    for name, topic in table.topics.items():
        assert topic.publish == [name.removesuffix("-dead")]
        assert not name.endswith("-dead") or topic.subscribe == topic.publish


def test_a_journal_is_read_by_those_who_handle_its_events(table: Table, services: dict[str, Service]) -> None:
    for method in METHODS:
        readers = {(c.target, c.caller) for c in table.calls() if c.path == method}
        wanted = {
            (producer, app) for app, service in services.items() if service.walker
            for producer in service.walker.producers()
        }  # fmt: skip
        assert readers == wanted, method


@pytest.mark.parametrize("file", COMPONENTS, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_components_are_scoped_as_the_table_says(table: Table, file: Path) -> None:
    assert [fault for document in documents(file) for fault in rendered.faults(document, table)] == []


def test_every_component_of_the_table_is_there(table: Table) -> None:
    there = {d["metadata"]["name"] for file in COMPONENTS for d in documents(file) if d["kind"] != "Resiliency"}
    assert there == set(table.components)


def test_every_secret_store_is_closed(table: Table) -> None:
    stores = {
        d["metadata"]["name"] for file in COMPONENTS for d in documents(file)
        if d["spec"].get("type", "").startswith("secretstores.")
    }  # fmt: skip
    assert stores | {rendered.BUILT_IN} == set(table.secrets)
    (config,) = documents(rendered.BASE)
    assert config["spec"]["secrets"]["scopes"] == rendered.secret_scopes(table)


def test_the_cluster_s_configurations_are_current(table: Table) -> None:
    there = {file.name: file.read_text() for file in rendered.CLUSTER.iterdir()}
    assert there == rendered.files(table), "`make identity` writes them"


def test_the_page_is_current(table: Table) -> None:
    assert rendered.PAGE.read_text() == rendered.page(rendered.PAGE.read_text(), table), "`make identity` writes it"


def test_a_configuration_allows_nothing_by_default(table: Table) -> None:
    for app in table.apps:
        control = rendered.access_control(table, app)
        assert control["defaultAction"] == "deny"
        assert all(policy["defaultAction"] == "deny" for policy in control["policies"])
        assert all("*" not in each["name"] for policy in control["policies"] for each in policy["operations"])


# The checks see what they are for.


def changed(file: str, **more: Any) -> dict[str, Any]:
    (document,) = documents(REPOSITORY / "components" / file)
    return {**document, **more}


@pytest.mark.parametrize("scopes", [None, [], ["users", "orders", "inventory", "payments", "notifications", "gateway"]])
def test_wider_and_narrower_scopes_are_noticed(table: Table, scopes: list[str] | None) -> None:
    assert rendered.faults(changed("store/sqlite/store.yaml", scopes=scopes), table)


@pytest.mark.parametrize("key", ["allowedTopics", "protectedTopics", "publishingScopes", "subscriptionScopes"])
def test_a_topic_too_many_is_noticed(table: Table, key: str) -> None:
    document = changed("broker/redis/pubsub.yaml")
    for item in document["spec"]["metadata"]:
        if item["name"] == key:
            item["value"] += ",users"
    assert rendered.faults(document, table)


def test_a_component_that_nobody_thought_of_is_noticed(table: Table) -> None:
    assert rendered.faults(changed("store/sqlite/store.yaml", metadata={"name": "another"}), table)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("components", {"store": ["order"]}), ("calls", {"users": {"POST /contact": ["anybody"]}}),
        ("calls", {"users": {"ANY /contact": []}}), ("calls", {"users": {"POST /contact/*": []}}),
        ("secrets", {"secrets": ["payments"]}), ("topic", {}),
    ],
)  # fmt: skip
def test_a_table_that_names_what_is_not_there_is_refused(place: str, value: Any) -> None:
    raw = yaml.safe_load((REPOSITORY / "dapr/identity.yaml").read_text())
    with pytest.raises(ValidationError):
        Table.model_validate({**raw, place: value})
