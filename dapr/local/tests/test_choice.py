"""Another broker or store is the folder beside the template's, with credentials of each service's own."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from outrigger import kafka
from outrigger.choice import Broker, Choice, Store
from outrigger.credentials import PASSWORD, make_credentials, passwords
from outrigger.home import Home
from outrigger.plan import Plan, folders_of, make_plan
from outrigger.template import read_template

DAPRD = Path("/none/daprd")


@pytest.fixture(autouse=True)
def found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every program is there: a plan starts none."""
    for place in ("rabbitmq.find_rabbitmq", "rabbitmq.find_epmd", "kafka.find_java"):
        monkeypatch.setattr(f"outrigger.{place}", lambda: Path("/some/program"))


def planned(home: Home, *, broker: Broker | None = None, store: Store | None = None) -> Plan:
    plan = make_plan(home, DAPRD, 20_001, Choice(broker, store))
    plan.write_resources()
    return plan


def rendered(home: Home, file: str) -> dict[str, Any]:
    return yaml.safe_load((home.resources / file).read_text())["spec"]


def settings(home: Home, file: str) -> dict[str, str]:
    return {item["name"]: item.get("value", "") for item in rendered(home, file)["metadata"]}


def names(plan: Plan) -> list[str]:
    return [part.command.name for part in plan.parts if part.awaited]


def test_without_a_choice_it_is_the_template_s(home: Home) -> None:
    assert names(planned(home)) == ["valkey", "bank"]
    assert rendered(home, "store.yaml")["type"] == "state.sqlite"


def test_every_choice_has_its_folder_and_every_folder_can_be_chosen(home: Home) -> None:
    for kind, choices in (("broker", Broker), ("store", Store)):
        folders = {folder.name for folder in (home.root / "components" / kind).iterdir()}
        assert folders == {str(choice) for choice in choices}


def test_other_folders_stay_as_they_are(home: Home) -> None:
    template = read_template(home.template)
    chosen = folders_of(home, template, Choice(Broker.KAFKA, Store.POSTGRESQL))
    assert [f"{folder.parent.name}/{folder.name}" for folder in chosen] == [
        "broker/kafka", "store/postgresql", "mail/localstorage", "components/platform",
    ]  # fmt: skip


def test_on_rabbitmq_the_broker_s_address_is_rendered(home: Home) -> None:
    plan = planned(home, broker=Broker.RABBITMQ)
    assert names(plan) == ["epmd", "rabbitmq", "bank"]
    port = settings(home, "pubsub.yaml")["hostname"].removeprefix("127.0.0.1:")
    broker = next(part for part in plan.parts if part.command.name == "rabbitmq")
    broker.prepare()
    written = (broker.command.folder / "rabbitmq.conf").read_text()
    assert f"listeners.tcp.1 = 127.0.0.1:{port}\n" in written


def test_on_rabbitmq_every_service_is_a_user_and_queues_come_first(home: Home) -> None:
    broker = next(part for part in planned(home, broker=Broker.RABBITMQ).parts if part.command.name == "rabbitmq")
    broker.prepare()
    path = broker.command.folder / "definitions.json"
    known = json.loads(path.read_text())
    assert {user["name"] for user in known["users"]} == {app.app_id for app in read_template(home.template).apps}
    assert "orders-inventory" in {queue["name"] for queue in known["queues"]}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    word = passwords(home.credentials, ["orders"])["orders"]
    assert word not in path.read_text()


def test_on_kafka_the_node_listens_on_the_loopback_address_only(home: Home) -> None:
    plan = planned(home, broker=Broker.KAFKA)
    assert names(plan) == ["kafka", "bank"]
    broker = plan.parts[0]
    log = broker.command.folder / "log"
    log.mkdir()
    (log / "meta.properties").touch()  # as if it had been formatted before, which needs Java
    broker.prepare()
    written = dict(
        line.split("=", 1) for line in (broker.command.folder / "server.properties").read_text().splitlines()
    )
    assert written["listeners"].startswith(f"CLIENTS://{settings(home, 'pubsub.yaml')['brokers']},")
    assert all("://127.0.0.1:" in address for address in written["listeners"].split(","))
    assert f'user_orders="{passwords(home.credentials, ["orders"])["orders"]}"' in str(written)


def test_kafka_s_jars_are_pinned(home: Home) -> None:
    listed = kafka.listed()
    assert len({jar.file for jar in listed}) == len(listed) > 40
    assert all(len(jar.sha256) == 64 for jar in listed)
    assert f"kafka_2.13-{kafka.VERSION}.jar" in {jar.file for jar in listed}


def test_on_postgresql_a_service_s_credentials_name_its_own_database(home: Home) -> None:
    assert names(planned(home, store=Store.POSTGRESQL)) == ["valkey", "postgresql", "bank"]
    for service, other in (("orders", "payments"), ("payments", "orders")):
        known = json.loads((home.credentials / f"{service}.json").read_text())
        words = dict(pair.split("=", 1) for pair in known["postgresql"].split())
        assert (words["user"], words["dbname"]) == (service, service)
        assert words["password"] == known[PASSWORD] != passwords(home.credentials, [other])[other]


def test_no_credential_is_rendered_or_shown(home: Home) -> None:
    plan = planned(home, broker=Broker.RABBITMQ, store=Store.POSTGRESQL)
    words = passwords(home.credentials, [app.app_id for app in read_template(home.template).apps]).values()
    texts = [path.read_text() for path in home.resources.iterdir()]
    texts += [" ".join(command.argv) for command in [part.command for part in plan.parts]]
    assert not [text for text in texts if any(word in text for word in words)]


def test_a_password_is_made_once_and_is_its_owner_s_alone(tmp_path: Path) -> None:
    folder = tmp_path / "credentials"
    make_credentials(folder, ["orders"], {"at": "port=1 {password}"})
    before = passwords(folder, ["orders"])
    make_credentials(folder, ["orders"], {"at": "port=2 {password}"})
    assert passwords(folder, ["orders"]) == before
    assert json.loads((folder / "orders.json").read_text())["at"] == f"port=2 {before['orders']}"
    assert stat.S_IMODE((folder / "orders.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_with_parts_only_a_run_template_is_left_for_the_cli(home: Home) -> None:
    plan = make_plan(home, DAPRD, 20_001, Choice(), parts_only=True)
    plan.write_resources()
    own, left = read_template(home.template), read_template(home.work / "dapr.yaml")
    assert (plan.services, plan.gateway_url) == ([], "")
    assert left.common.resources_paths == [home.resources.name]
    assert [app.model_dump(exclude={"app_dir_path"}) for app in left.apps] == [
        app.model_dump(exclude={"app_dir_path"}) for app in own.apps
    ]
    assert all((home.work / app.app_dir_path).resolve().is_dir() for app in left.apps)
