"""docker-compose.yml: compose's own strict parser, every service careful, and one truth with template and launcher."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.composition import Composition, faults, install, parsed, with_files
from outrigger import kafka, postgresql
from outrigger.choice import Broker
from outrigger.commands import GO, Ports, sidecar_command
from outrigger.compose import prepare
from outrigger.credentials import passwords
from outrigger.home import Home
from outrigger.parts import DURABLE
from outrigger.template import read_template
from support.installation import REPOSITORY

TEMPLATE = read_template(REPOSITORY / "dapr" / "dapr.yaml")
APPS = {app.app_id: app for app in TEMPLATE.apps}
# By the name of its service in the file, each app's id.
PAIRS = {"gateway-a": "gateway", "gateway-b": "gateway", **{name: name for name in APPS if name != "gateway"}}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return install(tmp_path_factory.mktemp("a folder"))


@pytest.fixture(scope="module")
def services(home: Home) -> Composition:
    return with_files(parsed(home))["services"]


@pytest.fixture(scope="module")
def composition(home: Home) -> Composition:
    return parsed(home)


def test_compose_takes_it_and_every_service_is_careful(composition: Composition) -> None:
    assert faults(composition) == []


@pytest.mark.parametrize("broker", Broker)
def test_one_word_chooses_the_broker_and_its_components(
    raw: dict[str, Any], services: Composition, broker: str
) -> None:
    """The parser alone fills in no variables: so as they are written."""
    assert services[broker]["profiles"] == [broker]
    for name in PAIRS:
        (resources,) = [each for each in raw[f"{name}-dapr"]["volumes"] if "resources" in each["source"]]
        assert resources["source"] == ".outrigger/compose/resources/${BROKER:-redis}"
    lines = (REPOSITORY / ".env").read_text().splitlines()
    assert {"BROKER=redis", "COMPOSE_PROFILES=${BROKER},${WITH:-}"} < set(lines)


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ("  restart: unless", "  restrat: unless", "restrat"),
        ("  read_only: true", "  read_only: maybe", "read_only"),
        ("condition: service_started", "condition: soon", "condition"),
    ],
)
def test_what_compose_does_not_know_is_refused(tmp_path: Path, before: str, after: str, complaint: str) -> None:
    copy = install(tmp_path)
    file = copy.root / "docker-compose.yml"
    assert before in file.read_text()
    file.write_text(file.read_text().replace(before, after))
    with pytest.raises(ValueError, match=complaint):
        parsed(copy)


def test_a_capability_is_given_where_there_is_a_reason(composition: Composition) -> None:
    given = {name: service["cap_add"] for name, service in composition["services"].items() if "cap_add" in service}
    assert given == {"proxy": ["NET_BIND_SERVICE"], "logs": ["DAC_OVERRIDE"]}


def test_every_network_volume_and_secret_that_is_named_is_there(composition: Composition) -> None:
    for service in composition["services"].values():
        assert set(service["networks"]) <= set(composition["networks"])
        volumes = [each for each in service.get("volumes", ()) if each["type"] == "volume" and each.get("source")]
        assert {each["source"] for each in volumes} <= set(composition["volumes"])
        assert {each["source"] for each in service.get("secrets", ())} <= set(composition["secrets"])
    assert all(Path(secret["file"]).is_file() for secret in composition["secrets"].values())


@pytest.mark.parametrize(
    ("key", "value", "fault"),
    [
        ("read_only", False, "read-only root"),
        ("cap_drop", [], "capabilities"),
        ("security_opt", [], "no-new-privileges"),
        ("deploy", {}, "limit of memory"),
        ("healthcheck", {}, "health check"),
        ("restart", "no", "restart"),
        ("logging", {}, "log"),
        ("user", "root", "a user"),
        ("privileged", True, "privileged"),
        ("network_mode", "host", "network_mode"),
        ("image", "reg.example/caddy:2", "registry"),
        ("image", "caddy:latest", "moves"),
        ("ports", [{"target": 8080, "published": "8080"}], "open to the network"),
        ("environment", {"DAPR_API_TOKEN": "x"}, "for all to read"),
        ("volumes", [{"source": "/var/run/docker.sock"}], "command the engine"),
    ],
)
def test_a_careless_service_is_found(composition: Composition, key: str, value: object, fault: str) -> None:
    careless = {**composition["services"]["proxy"], key: value}
    assert any(fault in each for each in faults({"services": {"proxy": careless}}))


@pytest.mark.parametrize("name", PAIRS)
def test_an_app_and_its_sidecar_are_on_a_network_of_their_own(services: Composition, name: str) -> None:
    """So a crashed app takes no network from its sidecar, and reaches nobody else."""
    assert set(services[name]["networks"]) == {name}
    assert {name, "mesh", "data"} <= set(services[f"{name}-dapr"]["networks"])
    others = {other for other, each in services.items() if name in each["networks"]} - {name, f"{name}-dapr", "zipkin"}
    assert others == ({"proxy"} if PAIRS[name] == "gateway" else set())


def test_only_the_mesh_of_the_sidecars_networks_leads_out(composition: Composition) -> None:
    """A sidecar tells others the address from which it would go out."""
    outward = {name for name, network in composition["networks"].items() if not (network or {}).get("internal")}
    for name in PAIRS:
        assert set(composition["services"][f"{name}-dapr"]["networks"]) & outward == {"mesh"}
        assert not set(composition["services"][name]["networks"]) & outward


@pytest.mark.parametrize("name", PAIRS)
def test_an_app_starts_after_its_sidecar_and_does_not_wait_for_it(services: Composition, name: str) -> None:
    """The sidecar itself waits for the app; and whoever starts last is stopped first, so an app drains through it."""
    assert services[name]["depends_on"] == {f"{name}-dapr": {"condition": "service_started", "required": True}}
    assert not {part for part in services[f"{name}-dapr"]["depends_on"] if part in PAIRS}


@pytest.mark.parametrize("name", PAIRS)
def test_app_and_sidecar_find_each_other(services: Composition, name: str) -> None:
    environment, flags = services[name]["environment"], flags_of(services[f"{name}-dapr"])
    assert environment["APP_ID"] == flags["app-id"] == PAIRS[name]
    assert environment["DAPR_HTTP_ENDPOINT"] == f"http://{name}-dapr:{flags['dapr-http-port']}"
    assert flags["app-channel-address"] == name
    number = {"gateway-b": 1}.get(name, 0)
    assert environment["OUTRIGGER_INSTANCE"] == f"{PAIRS[name]}-{number}"
    assert {name: environment[name] for name in TEMPLATE.common.env} == TEMPLATE.env(APPS[PAIRS[name]]) | {
        "OTEL_EXPORTER_ZIPKIN_ENDPOINT": "http://zipkin:9411/api/v2/spans"
    }


@pytest.mark.parametrize("name", PAIRS)
def test_a_sidecar_is_started_as_the_launcher_starts_it(home: Home, services: Composition, name: str) -> None:
    app = APPS[PAIRS[name]]
    command = sidecar_command(home, TEMPLATE, app, Ports(8080, 3500, 50001, 50002), Path("daprd"))
    wanted = valued(re.sub(r" (?=[^-])", "=", " ".join(command.argv[1:])).replace("--", "").split())
    told = flags_of(services[f"{name}-dapr"])
    assert told.pop("app-channel-address") == name
    assert told.pop("dapr-listen-addresses") == "0.0.0.0"  # noqa: S104 - in networks of its own
    del wanted["dapr-listen-addresses"], wanted["dapr-internal-grpc-listen-address"]
    del wanted["dapr-block-shutdown-duration"]  # its app is stopped before it
    assert told == wanted
    assert services[f"{name}-dapr"]["working_dir"] == f"/outrigger/apps/{app.app_id}"
    assert GO.items() <= services[f"{name}-dapr"]["environment"].items()


@pytest.mark.parametrize("name", PAIRS)
def test_tokens_are_the_service_s_own_and_are_asked_for_both_ways(services: Composition, name: str) -> None:
    app, sidecar = services[name]["environment"], services[f"{name}-dapr"]["environment"]
    for token in ("APP_API_TOKEN", "DAPR_API_TOKEN"):
        assert len(app[token]) > 30
        assert app[token] == sidecar[token]
        assert {other for other in PAIRS if services[other]["environment"][token] == app[token]} == {
            other for other in PAIRS if PAIRS[other] == PAIRS[name]
        }
    assert app["APP_API_TOKEN"] != app["DAPR_API_TOKEN"]


def test_the_proxy_knows_the_gateways_word_and_no_other(services: Composition) -> None:
    told = services["proxy"]["environment"]
    assert told["APP_API_TOKEN"] == services["gateway-a"]["environment"]["APP_API_TOKEN"]
    assert "DAPR_API_TOKEN" not in told


@pytest.mark.parametrize("name", PAIRS)
def test_a_sidecar_sees_its_own_credentials_alone(services: Composition, name: str) -> None:
    seen = {secret["source"] for secret in services[f"{name}-dapr"]["secrets"]}
    assert seen == {f"{PAIRS[name]}-credentials", *({"bank-key"} if name == "payments" else set())}
    assert "secrets" not in services[name]


@pytest.fixture(scope="module")
def raw() -> dict[str, Any]:
    """Return the file as YAML: the parser leaves out what it makes the containers of."""
    return yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())["services"]


def test_every_image_of_ours_is_built_from_its_dockerfile_and_anew_where_it_changes(raw: dict[str, Any]) -> None:
    built = {name: service for name, service in raw.items() if "build" in service}
    assert {service["image"] for service in built.values()} == {
        f"outrigger/{name}:${{TAG:-local}}" for name in (*APPS, "bank")
    }
    for service in built.values():
        app = service["image"].partition("/")[2].partition(":")[0]
        assert service["build"]["dockerfile"] == f"apps/{app}/Dockerfile"
        watched = [each["path"] for each in service["develop"]["watch"]]
        assert {f"apps/{app}/{app}", "uv.lock"} <= set(watched)
        assert all((REPOSITORY / path).exists() for path in watched)
        # A read-only root takes no synchronised files.
        assert {each["action"] for each in service["develop"]["watch"]} == {"rebuild"}


# what `outrigger compose` writes


def test_nobody_else_on_this_machine_may_look_and_containers_may(home: Home) -> None:
    folder = home.work / "compose"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()} == {0o644}


def test_keys_stay_when_it_is_written_again(tmp_path: Path) -> None:
    first = install(tmp_path)
    before = {path: path.read_text() for path in (first.work / "compose").rglob("*") if path.is_file()}
    prepare(first)
    assert {path: path.read_text() for path in before} == before


def test_no_two_installations_have_a_key_in_common(tmp_path: Path, home: Home) -> None:
    other = install(tmp_path)
    for name in ("tokens/orders.env", "credentials/orders.json", "secrets.json", "postgresql.password"):
        assert (other.work / "compose" / name).read_text() != (home.work / "compose" / name).read_text()


@pytest.mark.parametrize("broker", Broker)
def test_resources_are_the_components_but_for_addresses(home: Home, broker: Broker) -> None:
    rendered = {path.name: path for path in (home.work / "compose" / "resources" / broker).iterdir()}
    folders = [f"broker/{broker}", "store/postgresql", "mail/localstorage", "platform"]
    sources = {path.name: path for folder in folders for path in (REPOSITORY / "components" / folder).glob("*.yaml")}
    assert set(rendered) == set(sources)
    changed = {
        (one, two)
        for name, path in rendered.items()
        for one, two in zip(_words(sources[name]), _words(path), strict=True)
        if one != two
    }
    address = {"redis": "127.0.0.1:6379 redis:6379", "rabbitmq": "127.0.0.1:5672 rabbitmq:5672"}
    before, after = address.get(broker, "127.0.0.1:9092 kafka:9092").split()
    assert changed == {(before, after), ("http://127.0.0.1:8090", "http://bank:8080")}


def _words(path: Path) -> list[str]:
    """Return all that a file says, whatever its comments and line ends."""

    def leaves(value: Any) -> list[str]:
        if isinstance(value, dict):
            return [word for key, part in value.items() for word in (key, *leaves(part))]
        return [word for part in value for word in leaves(part)] if isinstance(value, list) else [str(value)]

    return [word for document in yaml.safe_load_all(path.read_text()) for word in leaves(document)]


def test_each_service_has_a_role_and_a_database_with_its_password(home: Home) -> None:
    folder = home.work / "compose"
    known = passwords(folder / "credentials", APPS)
    lines = (folder / "postgresql.sql").read_text().splitlines()
    assert lines == [f"{line.strip()};" for name, word in known.items() for line in postgresql.role(name, word)]
    for name, word in known.items():
        said = json.loads((folder / "credentials" / f"{name}.json").read_text())["postgresql"]
        assert said == f"host=postgresql port=5432 user={name} password={word} dbname={name}"


def test_postgresql_is_set_as_the_launcher_sets_its_own(services: Composition) -> None:
    told = valued(each for each in services["postgresql"]["command"] if "=" in each)
    ours = {name: value for name, value in postgresql._SETTINGS.items() if "_a" not in name and "socket" not in name}
    assert ours.items() <= told.items()
    rule = [line for line in (REPOSITORY / "dapr/compose/pg_hba.conf").read_text().splitlines() if line[0] != "#"]
    assert [re.split(r"\s+", line)[:3] for line in rule] == [["local", "all", "all"], ["host", "sameuser", "all"]]


def test_kafka_is_run_as_the_launcher_runs_its_own(home: Home) -> None:
    script = (REPOSITORY / "dapr/compose/kafka.sh").read_text()
    assert f'java="java {" ".join(kafka.FLAGS)}"' in script
    settings = valued((home.work / "compose" / "kafka.properties").read_text().splitlines())
    assert settings["advertised.listeners"] == "CLIENTS://kafka:9092"
    assert settings["num.partitions"] == str(kafka.PARTITIONS)
    assert all(f"user_{name}=" in settings["listener.name.clients.plain.sasl.jaas.config"] for name in APPS)


def test_redis_is_durable_as_the_launcher_s(services: Composition) -> None:
    command = services["redis"]["command"]
    assert command[1 : 1 + len(DURABLE)] == list(DURABLE)


def flags_of(service: dict[str, Any]) -> dict[str, str]:
    words = (*service["entrypoint"], *service["command"])
    return valued(word.removeprefix("--") for word in words if word.startswith("--"))


def valued(words: Iterable[str]) -> dict[str, str]:
    return {name: value for name, _, value in (word.partition("=") for word in words)}
