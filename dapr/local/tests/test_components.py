"""What the components must say for the engine's promises to hold."""

import itertools
from typing import Any

import pytest
import yaml

from outrigger.home import Home
from outrigger.kafka import PARTITIONS

BULK = 100  # messages in one delivery, as the services subscribe


def spec(home: Home, path: str) -> dict[str, Any]:
    return yaml.safe_load((home.root / path).read_text())["spec"]


def settings(home: Home, path: str) -> dict[str, str]:
    return {item["name"]: item.get("value", "") for item in spec(home, path)["metadata"]}


def seconds(text: str) -> float:
    return float(text.removesuffix("s"))


def test_redis_has_workers_for_several_full_bulks(home: Home) -> None:
    broker = settings(home, "components/broker/redis/pubsub.yaml")
    assert int(broker["concurrency"]) >= 4 * BULK
    assert int(broker["queueDepth"]) >= BULK


def test_the_retries_of_a_delivery_end_before_it_is_reclaimed(home: Home) -> None:
    """Else a message is in the retry loop twice.

    Waits grow by half from half a second, and each is up to half longer, as Dapr's policy does.
    """
    broker = settings(home, "components/broker/redis/pubsub.yaml")
    retry = spec(home, "components/platform/resiliency.yaml")["policies"]["retries"]["delivery"]
    grown = itertools.accumulate(range(retry["maxRetries"] - 1), lambda wait, _: wait * 1.5, initial=0.5)
    waits = sum(min(wait, seconds(retry["maxInterval"])) for wait in grown)
    patience = seconds(broker["processingTimeout"])
    assert 5 < 1.5 * waits < patience
    assert int(broker["redeliverInterval"]) < 1000 * patience  # read only as a bare number, in ms


def test_what_is_published_outlives_rabbitmq_and_its_consumers(home: Home) -> None:
    broker = settings(home, "components/broker/rabbitmq/pubsub.yaml")
    wanted = {"durable": "true", "deletedWhenUnused": "false", "deliveryMode": "2", "publisherConfirm": "false"}
    assert wanted.items() <= broker.items()


def test_rabbitmq_hands_over_full_bulks(home: Home) -> None:
    """Dapr keeps the figure in a byte."""
    assert BULK <= int(settings(home, "components/broker/rabbitmq/pubsub.yaml")["prefetchCount"]) <= 255


def test_what_cannot_be_dead_lettered_stays(home: Home) -> None:
    """Redis keeps it pending anyway."""
    assert settings(home, "components/broker/rabbitmq/pubsub.yaml")["requeueInFailure"] == "true"
    assert settings(home, "components/broker/kafka/pubsub.yaml")["consumeRetryEnabled"] == "true"


def test_kafka_gives_a_new_service_its_history(home: Home) -> None:
    broker = settings(home, "components/broker/kafka/pubsub.yaml")
    assert broker["initialOffset"] == "oldest"
    assert broker["consumerGroup"] == "{appID}"
    assert PARTITIONS >= 3  # one for each of three replicas


@pytest.mark.parametrize(
    "path", ["broker/rabbitmq/pubsub.yaml", "broker/kafka/pubsub.yaml", "store/postgresql/store.yaml"]
)
def test_a_password_is_a_secret_s_name(home: Home, path: str) -> None:
    document = yaml.safe_load((home.root / "components" / path).read_text())
    assert document["auth"] == {"secretStore": "credentials"}
    secret = [item["name"] for item in document["spec"]["metadata"] if "secretKeyRef" in item]
    assert secret in (["password"], ["saslPassword"], ["connectionString"])


@pytest.mark.parametrize(
    "path", ["broker/redis", "broker/rabbitmq", "broker/kafka", "store/sqlite", "store/postgresql"]
)
def test_every_setting_has_its_reason_above_it(home: Home, path: str) -> None:
    (file,) = (home.root / "components" / path).glob("*.yaml")
    lines = [line.strip() for line in file.read_text().splitlines()]
    names = [at for at, line in enumerate(lines) if line.startswith("- name: ")]
    bare = [lines[at] for at in names if not lines[at - 1].startswith("#")]
    credentials = {"- name: password", "- name: saslUsername", "- name: saslPassword"}  # one reason for both
    assert set(bare) <= credentials


def test_sqlite_waits_for_a_lock_within_its_time_out(home: Home) -> None:
    store = settings(home, "components/store/sqlite/store.yaml")
    assert seconds(store["busyTimeout"]) < seconds(store["timeout"])
    assert "{appID}" in store["connectionString"]
    assert " " not in store["connectionString"]


def test_no_policy_targets_the_store(home: Home) -> None:
    targets = spec(home, "components/platform/resiliency.yaml")["targets"]
    assert set(targets["components"]) == {"pubsub"}
    assert set(targets["components"]["pubsub"]) == {"inbound"}


def test_the_circuit_breaker_is_half_of_ten_calls(home: Home) -> None:
    breaker = spec(home, "components/platform/resiliency.yaml")["policies"]["circuitBreakers"]["call"]
    assert breaker["trip"] == "requests >= 10 && totalFailures * 2 >= requests"
    assert (breaker["interval"], breaker["timeout"]) == ("10s", "30s")


def test_the_gateways_calls_have_the_same_bounds_and_are_repeated_by_itself(home: Home) -> None:
    documents = [
        yaml.safe_load((home.root / f"components/platform/{name}.yaml").read_text())
        for name in ("resiliency", "resiliency-gateway")
    ]
    others, gateways = (document["spec"] for document in documents)
    for kind in ("timeouts", "circuitBreakers"):
        assert gateways["policies"][kind] == others["policies"][kind]
    assert set(gateways["targets"]["apps"]) == set(others["targets"]["apps"]) - {"bank"}
    assert all("retry" not in target for target in gateways["targets"]["apps"].values())
    apps = [app["appID"] for app in yaml.safe_load(home.template.read_text())["apps"]]
    assert sorted(itertools.chain(*(document["scopes"] for document in documents))) == sorted(apps)


def test_sidecars_begin_no_trace_but_follow_ours(home: Home) -> None:
    """At a rate of 0 they would not even follow; at a greater one every call to a store is a trace."""
    tracing = spec(home, "dapr/config.yaml")["tracing"]
    assert isinstance(tracing["samplingRate"], str)
    assert 0 < float(tracing["samplingRate"]) < 1e-6
    apps = yaml.safe_load(home.template.read_text())["common"]["env"]["OTEL_EXPORTER_ZIPKIN_ENDPOINT"]
    assert tracing["zipkin"]["endpointAddress"] == apps == "http://localhost:9411/api/v2/spans"


def test_components_may_change_live(home: Home) -> None:
    assert {"name": "HotReload", "enabled": True} in spec(home, "dapr/config.yaml")["features"]


def test_mail_goes_where_a_run_made_room_and_nobody_else_sends_any(home: Home) -> None:
    folder = home.root / "apps" / "notifications" / settings(home, "components/mail/localstorage/mail.yaml")["rootPath"]
    assert folder.resolve() == home.mail
    document = yaml.safe_load((home.root / "components/mail/localstorage/mail.yaml").read_text())
    assert document["scopes"] == ["notifications"]


def test_only_payments_knows_the_bank_and_its_key(home: Home) -> None:
    for name in ("bank", "secrets"):
        text = (home.root / f"components/platform/{name}.yaml").read_text()
        assert yaml.safe_load(text)["scopes"] == ["payments"]


def test_no_app_may_read_a_secret(home: Home) -> None:
    scopes = spec(home, "dapr/config.yaml")["secrets"]["scopes"]
    assert scopes == [{"storeName": name, "defaultAccess": "deny"} for name in ("secrets", "credentials")]


def test_the_bank_is_never_asked_twice_by_a_sidecar(home: Home) -> None:
    """Payments does that itself, under the same key."""
    targets = spec(home, "components/platform/resiliency.yaml")["targets"]
    assert targets["apps"]["bank"] == {"timeout": "call", "circuitBreaker": "call"}
