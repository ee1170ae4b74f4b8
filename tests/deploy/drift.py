"""One truth, told five times: by the run template, the launcher, compose, Tye and the cluster's manifests.

`say` returns what one of them says of each service (and of the whole, as service "*"); `differences` puts it all into
one table, and lists where two of them disagree, or one that should speak is silent. What differs on purpose is not in
the table, or is put into a form that is the same: addresses without hosts, ports of pods apart from a host's.
"""

import json
import os
import re
import shlex
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import yaml

from deploy.injected import arguments, inject, sidecar
from deploy.manifests import OURS, Manifest, build, of, one, pod
from deploy.tye import Dapr, Service, Sidecar, Tye
from outrigger import compose
from outrigger.home import Home
from outrigger.template import Template, read_template, resolve
from outrigger.tye import prepare_tye

SPANS = "OTEL_EXPORTER_ZIPKIN_ENDPOINT"
WHOLE = "*"
GO = ("GOGC", "GOMEMLIMIT", "GOMAXPROCS")
UNSAID = {SPANS, "APP_ID", "APP_HOST", "APP_PORT", "OUTRIGGER_INSTANCE", "DAPR_HTTP_ENDPOINT", "PYTHONUNBUFFERED"}
UNSAID |= {"APP_API_TOKEN", "DAPR_API_TOKEN", "APP_PROTOCOL", "DAPR_HTTP_PORT", "DAPR_GRPC_PORT"}  # not settings

Fact = tuple[str, str, Any]  # service, field, value
Table = dict[tuple[str, str], dict[str, Any]]  # by service and field: who says what

# Who has to speak of what. Nobody else may: a field that is not here is a mistake of this file.
TEMPLATE, LAUNCHER, COMPOSE, TYE, CLUSTER = "dapr.yaml", "launcher", "compose", "tye.yaml", "k8s"
ALL = (TEMPLATE, LAUNCHER, COMPOSE, TYE, CLUSTER)
SPEAKERS: Mapping[str, tuple[str, ...]] = {
    "name": (TEMPLATE, COMPOSE, TYE, CLUSTER),
    "services": ALL,
    "resources": (TEMPLATE, TYE, CLUSTER),
    "configuration": (TEMPLATE, LAUNCHER, TYE, CLUSTER),
    "app id": ALL,
    "app": (TEMPLATE, LAUNCHER, COMPOSE, TYE),
    "program": (TEMPLATE, LAUNCHER, TYE),
    "folder": (TEMPLATE, LAUNCHER, COMPOSE, TYE, CLUSTER),
    "paths": (LAUNCHER, COMPOSE),
    "protocol": ALL,
    "health check": (TEMPLATE, LAUNCHER, COMPOSE, CLUSTER),
    "sidecar's log level": ALL,
    "calls at once": (TEMPLATE, LAUNCHER, COMPOSE, CLUSTER),
    "settings": ALL,
    "spans": ALL,
    "host's ports": (TEMPLATE, TYE),
    "pod's ports": (COMPOSE, CLUSTER),
    "app's port": (COMPOSE, CLUSTER),
    "probed": (COMPOSE, CLUSTER),
    "Go's": (LAUNCHER, COMPOSE, CLUSTER),
    "closing": (LAUNCHER, COMPOSE, CLUSTER),
    "draining": (LAUNCHER, CLUSTER),
    "metrics": (LAUNCHER, COMPOSE),
    "image": (COMPOSE, CLUSTER),
    "version": (COMPOSE, CLUSTER),
    "listens": (COMPOSE, CLUSTER),
    "bounds": (COMPOSE, CLUSTER),
    "tokens": (COMPOSE, CLUSTER),
}
SILENT = {
    "draining": "compose starts an app after its sidecar and stops it before",
    "metrics": "in a cluster they are on, and the network policies close their port",
}


@dataclass(frozen=True)
class Sources:
    """Where it is told: a folder like the project's, and its manifests, rendered."""

    root: Path
    manifests: tuple[Manifest, ...]

    @property
    def home(self) -> Home:
        """The folder as the launcher knows it."""
        return Home(self.root)


def sources(root: Path) -> Sources:
    """Read a folder."""
    return Sources(root, tuple(build(root / "k8s" / "overlays" / "rabbitmq")))


def say(speaker: str, told: Sources) -> list[Fact]:
    """Return all that one of them says; raises what a file that cannot be read at all raises."""
    tell: Mapping[str, Callable[[Sources], Iterator[Fact]]] = {
        TEMPLATE: _template, LAUNCHER: _launcher, COMPOSE: _compose, TYE: _tye, CLUSTER: _cluster,
    }  # fmt: skip
    return list(tell[speaker](told))


def differences(said: Mapping[str, list[Fact]]) -> list[str]:
    """List where two of those that are asked disagree, and who of them is silent where he should speak."""
    table: Table = defaultdict(dict)
    for speaker, facts in said.items():
        for service, what, value in facts:
            before = table[service, what].setdefault(speaker, value)  # compose has two gateways
            table[service, what][speaker] = value if value == before else None
    services = {service for service, _ in table}
    known = {(service, what) for service in services for what in _of(service)} | table.keys()
    return [line for key in sorted(known) for line in _compared(key, table.get(key, {}), said.keys())]


def _of(service: str) -> set[str]:
    whole = {"name", "services", "resources", "configuration"}
    return whole if service == WHOLE else SPEAKERS.keys() - whole


def _compared(key: tuple[str, str], told: Mapping[str, Any], asked: AbstractSet[str]) -> Iterator[str]:
    service, what = key
    silent = {speaker for speaker in (set(SPEAKERS[what]) & asked) if told.get(speaker) is None}
    if silent:
        yield f"{service}: of {what} nothing that is all of one mind is said by {', '.join(sorted(silent))}"
    if len({json.dumps(value, sort_keys=True) for value in told.values()}) > 1:
        yield f"{service}: {what} is {dict(told)}"


# dapr/dapr.yaml


def _template(told: Sources) -> Iterator[Fact]:
    template = read_template(told.home.template)
    yield WHOLE, "name", template.name
    yield WHOLE, "services", sorted(app.app_id for app in template.apps)
    folders = [resolve(told.home.template.parent, path) for path in template.common.resources_paths]
    yield WHOLE, "resources", _resources(folders) if all(folder.is_dir() for folder in folders) else None
    for app in template.apps:
        yield app.app_id, "app id", app.app_id
        yield app.app_id, "app", _module(app.command)
        yield app.app_id, "program", _below(told.root, told.home.template.parent / app.app_dir_path / app.command[0])
        yield app.app_id, "folder", Path(app.app_dir_path).name
        yield app.app_id, "host's ports", (app.app_port, app.dapr_http_port, app.dapr_grpc_port, app.metrics_port)
        yield from _told(app.app_id, template.env(app))
        yield from _shared(app.app_id, {key: template.setting(app, key) for key in _SHARED})
    configs = {template.setting(app, "config_file_path") for app in template.apps}
    yield WHOLE, "configuration", [_configuration(told.home.template.parent / (name or "")) for name in configs]


_SHARED = {
    "app_protocol": "app-protocol", "log_level": "log-level", "app_max_concurrency": "app-max-concurrency",
    "enable_app_health_check": "enable-app-health-check", "app_health_check_path": "app-health-check-path",
    "app_health_probe_interval": "app-health-probe-interval", "app_health_probe_timeout": "app-health-probe-timeout",
    "app_health_threshold": "app-health-threshold",
}  # fmt: skip


def _shared(service: str, values: Mapping[str, Any]) -> Iterator[Fact]:
    """Read what template and command lines of sidecars have in common; both spellings."""
    given = {_SHARED.get(key, key): str(value).lower() for key, value in values.items() if value}
    yield service, "protocol", given.get("app-protocol", "http")
    yield service, "sidecar's log level", given.get("log-level", "info")
    yield service, "calls at once", given.get("app-max-concurrency", "-1")
    yield service, "health check", {k: v for k, v in sorted(given.items()) if "health" in k} or "none"


def _below(root: Path, path: Path) -> str:
    return os.path.relpath(path, root)


def _module(words: list[str]) -> str:
    return words[words.index("-m") + 1] if "-m" in words else " ".join(words)


def _told(service: str, environment: Mapping[str, str]) -> Iterator[Fact]:
    """Read the environment of an app: what is set, and where spans go, without the host."""
    yield service, "settings", {key: value for key, value in sorted(environment.items()) if key not in UNSAID}
    yield service, "spans", urlsplit(environment.get(SPANS, "")).path or "nowhere"


def _resources(folders: list[Path]) -> dict[str, Any]:
    """Return all resources by kind and name, but broker and store, which clusters choose."""
    files = [file for folder in folders for file in sorted(folder.glob("*.yaml"))]
    documents = [each for file in files for each in yaml.load_all(file.read_text(), yaml.CSafeLoader)]
    return _summed(documents)


_CHOSEN = {"pubsub", "store"}


def _summed(documents: list[Manifest]) -> dict[str, Any]:
    found = {}
    for each in documents:
        name, scopes = each["metadata"]["name"], sorted(each.get("scopes", ()))
        if name not in _CHOSEN:
            found[f"{each['kind']}/{name}"] = (
                each["spec"].get("type"), each["spec"].get("version"), scopes,
                each.get("auth"), [item["name"] for item in each["spec"].get("metadata", ())],
                each["spec"].get("policies"), each["spec"].get("targets"),
            )  # fmt: skip
    return found


def _configuration(path: Path) -> dict[str, Any]:
    return _plain(yaml.load(path.read_text(), yaml.CSafeLoader)["spec"])


def _plain(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return a Configuration's spec without what only a cluster has, and without hosts."""
    spec = {key: value for key, value in spec.items() if key not in {"mtls", "accessControl"}}
    tracing = dict(spec.get("tracing") or {})
    tracing["zipkin"] = urlsplit((tracing.get("zipkin") or {}).get("endpointAddress", "")).path
    scopes = [each for each in spec["secrets"]["scopes"] if each["storeName"] != "kubernetes"]
    return {**spec, "tracing": tracing, "secrets": scopes}


# dapr/local/outrigger/commands.py


def _launcher(told: Sources) -> Iterator[Fact]:
    template, home = read_template(told.home.template), told.home
    commands = _commands(home.root / "dapr/local/outrigger/commands.py")
    yield WHOLE, "services", sorted(app.app_id for app in template.apps)
    configs = set()
    for app in template.apps:
        ports = commands["Ports"](1, 2, 3, 4)
        daprd = commands["sidecar_command"](home, template, app, ports, Path("daprd"))
        started = commands["app_command"](home, template, app, ports, "http://here/api/v2/spans")
        given = arguments(daprd.argv[1:])
        yield app.app_id, "app id", given.get("app-id") if given.get("app-id") == started.env.get("APP_ID") else None
        yield app.app_id, "app", _module(list(started.argv))
        yield app.app_id, "program", _below(told.root, started.executable)
        yield app.app_id, "folder", started.folder.name
        yield app.app_id, "paths", (given.get("resources-path"), given.get("config"))
        yield app.app_id, "settings", _settings_of(template, app, started.env)
        yield app.app_id, "spans", urlsplit(started.env.get(SPANS, "")).path or "nowhere"
        yield (
            app.app_id,
            "Go's",
            {**{key: daprd.env.get(key) for key in GO}, "GOMAXPROCS": "1"},
        )  # its part of the cores
        yield app.app_id, "closing", given.get("dapr-graceful-shutdown-seconds")
        yield app.app_id, "draining", given.get("dapr-block-shutdown-duration")
        yield app.app_id, "metrics", given.get("enable-metrics")
        yield from _shared(app.app_id, given)
        configs.add(Path(given.get("config", "")).name)
    yield WHOLE, "configuration", [_configuration(home.template.parent / name) for name in configs]


def _settings_of(template: Template, app: Any, environment: Mapping[str, str]) -> dict[str, str | None]:
    """Return what an app is told, without what the launcher itself was told by whoever started it."""
    ours = (set(template.env(app)) | (environment.keys() - os.environ.keys())) - UNSAID
    return {key: environment.get(key) for key in sorted(ours)}


def _commands(path: Path) -> dict[str, Any]:
    """Run the launcher's module as it stands in that folder."""
    return _run_module(path.read_text())


@cache
def _run_module(text: str) -> dict[str, Any]:
    module: dict[str, Any] = {"__name__": "outrigger.commands"}
    exec(compile(text, "commands.py", "exec"), module)  # noqa: S102 - our own
    return module


# docker-compose.yml


def _compose(told: Sources) -> Iterator[Fact]:
    document = yaml.load((told.root / "docker-compose.yml").read_text(), yaml.CSafeLoader)
    services = document["services"]
    sidecars = {name: each for name, each in services.items() if name.endswith("-dapr")}
    yield WHOLE, "name", document["name"]
    folders = {each.name.partition("-")[0] for each in map(Path, sidecars)}
    yield WHOLE, "services", sorted(folders)
    for name, daprd in sidecars.items():
        given = arguments([*daprd["entrypoint"][1:], *daprd["command"]])
        app, service = services[given.get("app-channel-address", "")], name.partition("-")[0]
        yield from _one_of_compose(told, service, app, daprd, given)


def _one_of_compose(
    told: Sources, service: str, app: Mapping[str, Any], daprd: Mapping[str, Any], given: Mapping[str, str]
) -> Iterator[Fact]:
    common = _common_env(told.root, told.home.template.read_text()) if f"{_MADE}/common.env" in app["env_file"] else {}
    environment = {**common, **app["environment"]}
    same = given.get("app-id") == environment.get("APP_ID")
    yield service, "app id", given.get("app-id") if same else None
    image, _, tag = app["image"].partition(":")
    dockerfile = told.root / "apps" / image.partition("/")[2] / "Dockerfile"
    yield service, "image", image if tag == "${TAG:-local}" else None  # which is built here
    yield service, "folder", Path(daprd["working_dir"]).name
    yield service, "paths", (given.get("resources-path"), given.get("config"))
    text = dockerfile.read_text()  # of a service that has none there is no image either
    yield service, "app", _module(yaml.safe_load(_line(r"CMD (\[.*\])", text)))
    yield service, "version", _line(r"ARG VERSION=(\S+)", text)
    yield service, "listens", _line(r"ENV APP_HOST=(\S+ APP_PORT=\S+)", text).split(" APP_PORT=")
    yield from _told(service, environment)
    yield from _shared(service, given)
    endpoint = urlsplit(environment.get("DAPR_HTTP_ENDPOINT", ""))
    ports = [given.get(f"dapr-{each}-port") for each in ("http", "grpc", "internal-grpc")]
    yield service, "pod's ports", ports if str(endpoint.port) == ports[0] else None
    yield service, "app's port", given.get("app-port")
    yield service, "probed", (str(app["healthcheck"]["test"][-2]), app["healthcheck"]["test"][-1])
    yield service, "Go's", {key: str(daprd["environment"].get(key)) for key in GO}
    yield service, "closing", given.get("dapr-graceful-shutdown-seconds")
    yield service, "metrics", given.get("enable-metrics")
    yield service, "bounds", _bounds_of_compose(app["deploy"]["resources"])
    # The outside shows the gateway's token through the proxy here; in a cluster nobody adds one.
    both = app["env_file"][-1] == daprd["env_file"][-1] == f"{_MADE}/tokens/{service}.env"
    yield service, "tokens", "both know them" if both else None


_MADE = ".outrigger/compose"


def _line(pattern: str, text: str) -> str:
    """Return what a line of a Dockerfile says."""
    (said,) = re.findall(rf"(?m)^{pattern}$", text)
    return said


def _bounds_of_compose(resources: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    names = {"requests": "reservations", "limits": "limits"}
    return {
        ours: (round(float(resources[theirs]["cpus"]) * 1000), int(resources[theirs]["memory"].removesuffix("M")))
        for ours, theirs in names.items()
    }


@cache
def _common_env(root: Path, _template: str) -> Mapping[str, str]:
    """Return what `outrigger compose` writes for all apps."""
    with TemporaryDirectory() as folder:
        compose._resources(Home(root), Path(folder))
        lines = (Path(folder) / "common.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


# tye.yaml


def _tye(told: Sources) -> Iterator[Fact]:
    document = Tye.model_validate(yaml.load((told.root / "tye.yaml").read_text(), yaml.CSafeLoader))
    (dapr,) = document.extensions
    excepted = {name for name, each in dapr.services.items() if each.enabled is False}
    apps = [each for each in document.services if each.by_http and each.name not in excepted]
    yield WHOLE, "name", document.name
    yield WHOLE, "services", sorted({each.name for each in apps} | (dapr.services.keys() - excepted))
    folder, resources, configurations = _made_for_tye(told.root, told.home.template.read_text())
    yield WHOLE, "resources", resources if dapr.components_path == folder else None
    yield WHOLE, "configuration", [configurations[f"{dapr.config}.yaml"]]
    for app in apps:
        yield from _one_of_tye(told.root, app, dapr.services[app.name], dapr)


def _one_of_tye(root: Path, app: Service, daprd: Sidecar, dapr: Dapr) -> Iterator[Fact]:
    environment = {each.name: each.value for each in app.env}
    (port,) = (each.port for each in app.bindings)
    replica = {"APP_ID": daprd.app_id, "APP_PORT": str(port), "OUTRIGGER_INSTANCE": f"{app.name}-0"}
    yield app.name, "app id", daprd.app_id if replica.items() <= environment.items() else None
    yield app.name, "app", _module(shlex.split(app.args or ""))
    yield app.name, "program", _below(root, root / (app.executable or ""))
    yield app.name, "folder", Path(app.working_directory or "").name
    yield app.name, "host's ports", (port, daprd.http_port, daprd.grpc_port, daprd.metrics_port)
    yield from _told(app.name, environment)
    given = {"app-protocol": daprd.app_protocol or dapr.app_protocol, "log-level": daprd.log_level or dapr.log_level}
    yield from (fact for fact in _shared(app.name, given) if fact[1] in {"protocol", "sidecar's log level"})


@cache
def _made_for_tye(root: Path, _template: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Return the folder that `outrigger tye` makes, the resources in it, and the Configurations."""
    with TemporaryDirectory() as name:
        home = Home(Path(name).resolve())
        for part in ("dapr", "components"):
            (home.root / part).symlink_to(root / part)
        folder = prepare_tye(home)
        configurations = {path.name for path in (root / "dapr").glob("config*.yaml")}
        documents = {path.name: yaml.load(path.read_text(), yaml.CSafeLoader) for path in folder.glob("*.yaml")}
        specs = {file: _plain(documents[file]["spec"]) for file in configurations & documents.keys()}
        rest = [each for file, each in documents.items() if file not in specs]
        return os.path.relpath(folder, home.root), _summed(rest), specs


# k8s/


def _cluster(told: Sources) -> Iterator[Fact]:
    manifests = told.manifests
    (namespace,) = {each["metadata"]["namespace"] for each in of(manifests, "Deployment")}
    yield WHOLE, "name", namespace
    pods, _ = inject([pod(each) for each in of(manifests, "Deployment")])
    yield WHOLE, "services", sorted(each["metadata"]["name"] for each in pods)
    yield WHOLE, "resources", _summed(of(manifests, "Component", "HTTPEndpoint", "Resiliency"))
    named = [_plain(each["spec"]) for each in of(manifests, "Configuration")]
    yield WHOLE, "configuration", [each for number, each in enumerate(named) if each not in named[:number]]
    for each in pods:
        yield from _one_of_cluster(manifests, each["metadata"]["name"], each)


def _one_of_cluster(manifests: tuple[Manifest, ...], service: str, each: Mapping[str, Any]) -> Iterator[Fact]:
    daprd, (app,) = sidecar(each), [c for c in each["spec"]["containers"] if c["name"] == "app"]
    given = arguments(daprd["args"][1:])
    environment = {e["name"]: e.get("value", "") for e in app["env"]}
    names = {given.get("app-id"), environment.get("APP_ID"), given.get("config"), each["spec"]["serviceAccountName"]}
    yield service, "app id", names.pop() if len(names) == 1 else None
    image, _, tag = app["image"].partition(":")
    yield service, "image", image
    yield service, "version", tag
    yield service, "listens", [environment.get("APP_HOST"), environment.get("APP_PORT")]
    yield service, "folder", image.partition("/")[2]
    yield from _told(service, environment)
    yield from _shared(service, given)
    yield service, "pod's ports", [given.get(f"dapr-{kind}-port") for kind in ("http", "grpc", "internal-grpc")]
    yield service, "app's port", _port(manifests, service, app, given, environment)
    probe = app["readinessProbe"]["httpGet"]
    ports = {port["name"]: str(port["containerPort"]) for port in app["ports"]}
    yield service, "probed", (ports.get(probe["port"]), probe["path"])
    yield service, "Go's", {key: next((e["value"] for e in daprd["env"] if e["name"] == key), None) for key in GO}
    yield service, "closing", given.get("dapr-graceful-shutdown-seconds")
    yield service, "draining", given.get("dapr-block-shutdown-duration")
    bounds = app["resources"]
    yield (
        service,
        "bounds",
        {
            kind: (int(bounds[kind]["cpu"].removesuffix("m")), int(bounds[kind]["memory"].removesuffix("Mi")))
            for kind in ("requests", "limits")
        },
    )
    yield service, "tokens", "both know them" if _knows_tokens(service, app, daprd) else None


def _port(manifests: tuple[Manifest, ...], service: str, app: Any, given: Any, environment: Any) -> str | None:
    """Return the app's port, if all that have to do with it say the same."""
    (through,) = one(manifests, "Service", service, OURS)["spec"]["ports"]
    ports = {each["name"]: str(each["containerPort"]) for each in app["ports"]}
    told = {given.get("app-port"), environment.get("APP_PORT"), ports.get(through["targetPort"]), ports.get("http")}
    return told.pop() if len(told) == 1 and through["port"] == 80 else None


def _knows_tokens(service: str, app: Any, daprd: Any) -> bool:
    tokens = [
        {e["name"]: e["valueFrom"]["secretKeyRef"] for e in c["env"] if e["name"].endswith("_API_TOKEN")}
        for c in (app, daprd)
    ]
    wanted = {"DAPR_API_TOKEN": {"name": f"{service}-api-token", "key": "token"}}
    if service != "gateway":
        wanted["APP_API_TOKEN"] = {"name": f"{service}-app-token", "key": "token"}
    return tokens == [wanted, wanted]
