"""No file alone changes how the system is run: each is edited in a copy, field by field, and each edit is found."""

import copy
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.drift import (
    ALL,
    CLUSTER,
    COMPOSE,
    LAUNCHER,
    SILENT,
    SPEAKERS,
    TEMPLATE,
    TYE,
    Fact,
    Sources,
    differences,
    say,
    sources,
)
from deploy.manifests import OURS, build, named, walk
from outrigger.errors import LauncherError
from support.installation import REPOSITORY

Step = str | int
COMMANDS = "dapr/local/outrigger/commands.py"


@cache
def here() -> Sources:
    return sources(REPOSITORY)


@cache
def said(speaker: str) -> tuple[Fact, ...]:
    return tuple(say(speaker, here()))


def found(speaker: str, told: Sources) -> list[str]:
    """Return what is found when one of them says something else than here; unreadable is found as well."""
    try:
        changed = {speaker: say(speaker, told)}
    except (LauncherError, LookupError, ValueError, TypeError, AttributeError, AssertionError, OSError) as error:
        return [repr(error)]
    return differences({**{each: list(said(each)) for each in ALL}, **changed})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Copy what is edited; the rest is the project's own."""
    for part in ("k8s", "components", "dapr/cluster"):
        shutil.copytree(REPOSITORY / part, tmp_path / part)
    for name in (
        "dapr/dapr.yaml",
        "dapr/config.yaml",
        COMMANDS,
        "docker-compose.yml",
        "tye.yaml",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, tmp_path / name)
    (tmp_path / "apps").symlink_to(REPOSITORY / "apps")
    return tmp_path


def other(value: Any) -> Any:
    """Return another value of the same kind."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case None:
            return "x"
    return f"{value}x"


def edited(document: Any, path: tuple[Step, ...]) -> Any:
    """Return a copy with one field changed."""
    changed = copy.deepcopy(document)
    place = changed
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = other(place[path[-1]])
    return changed


def each_edit(file: Path, about: Iterable[str] = ("*",), *, but: Iterable[str] = ()) -> Iterator[tuple[str, str]]:
    """Return the text of a file with each field changed in its turn, and which one it was.

    `about` and `but` are patterns for fields, whose names are those on the way to them, and blanks.
    """
    document = yaml.safe_load(file.read_text())
    for path, _ in walk(document):
        name = " ".join(map(str, path))
        if any(fnmatchcase(name, each) for each in about) and not any(fnmatchcase(name, each) for each in but):
            yield name, yaml.dump(edited(document, path), Dumper=yaml.CSafeDumper, sort_keys=False)


def unfound(file: Path, edits: Iterator[tuple[str, str]], look: Callable[[], list[str]], least: int) -> list[str]:
    """Make every edit, and return those that nobody finds."""
    missed: list[str] = []
    count = 0
    for what, text in edits:
        file.write_text(text)
        count += 1
        if not look():
            missed.append(what)
    assert count >= least
    return missed


def test_all_say_the_same() -> None:
    assert differences({each: list(said(each)) for each in ALL}) == []


def test_who_is_not_asked_has_a_reason() -> None:
    few = {
        what
        for what, speakers in SPEAKERS.items()
        if {LAUNCHER, COMPOSE, CLUSTER} & set(speakers) and len(speakers) < 2
    }
    assert few == set()
    assert SILENT.keys() <= SPEAKERS.keys()


# The run template

OWN_OF_TEMPLATE = {
    "version": "any number will do",
    "* daprInternalGRPCPort": "only `dapr run` uses it, and nobody else has to know it",
}


@pytest.mark.timeout(600)  # many edits, and a slow machine
def test_an_edit_of_the_run_template_is_found(root: Path) -> None:
    file = root / "dapr/dapr.yaml"
    edits = each_edit(file, but=OWN_OF_TEMPLATE)
    assert unfound(file, edits, lambda: found(TEMPLATE, replace(here(), root=root)), least=60) == []


# The launcher

LINES = {
    "GOGC": ('"GOGC": "200"', '"GOGC": "400"'),
    "GOMEMLIMIT": ('"512MiB"', '"600MiB"'),
    "app id of the sidecar": ('"app-id": app.app_id', '"app-id": app.app_id + "x"'),
    "app id of the app": ('"APP_ID": app.app_id', '"APP_ID": app.app_id + "x"'),
    "protocol": ('"app-protocol": template.setting(app, "app_protocol") or "http"', '"app-protocol": "h2c"'),
    "draining": ("DRAIN = 25", "DRAIN = 30"),
    "closing": ('"dapr-graceful-shutdown-seconds": 1', '"dapr-graceful-shutdown-seconds": 5'),
    "log level": ('template.setting(app, "log_level")', '"debug"'),
    "calls at once": ('template.setting(app, "app_max_concurrency")', "10"),
    "health check": ('template.setting(app, "enable_app_health_check") else []', "True else []"),
    "path of the health check": ('template.setting(app, "app_health_check_path")', '"/health"'),
    "metrics": ("--enable-metrics=false", "--enable-metrics=true"),
    "spans": ("TRACES: traces}", "TRACES: traces[:-1]}"),
    "environment": ('"PYTHONUNBUFFERED": "1"', '"PYTHONUNBUFFERED": "1", "TRACE_LIMIT": "1"'),
    "another's environment": ("**template.env(app), ", ""),
    "configuration": ("home.configs / Path(config).name", "home.configs / 'other.yaml'"),
    "folder": ("tuple(app.command), folder, env", "tuple(app.command), folder.parent, env"),
    "app": ("executable, tuple(app.command)", "executable, tuple(app.command[:-1])"),
}


@pytest.mark.parametrize("what", LINES)
def test_an_edit_of_the_launcher_is_found(root: Path, what: str) -> None:
    old, new = LINES[what]
    text = (root / COMMANDS).read_text()
    assert old in text
    (root / COMMANDS).write_text(text.replace(old, new))
    assert found(LAUNCHER, replace(here(), root=root))


# compose

TOLD_BY_COMPOSE = (
    "name",
    *(f"services {{each}} {what}*" for what in ("environment", "entrypoint", "command", "env_file", "working_dir")),
    *(f"services {{app}} {what}" for what in ("image", "deploy resources * cpus", "deploy resources * memory")),
    *(f"services {{app}} healthcheck test {number}" for number in (4, 5)),
)
OWN_OF_COMPOSE = {
    "* OUTRIGGER_INSTANCE": "one replica has a name of its own, each",
    "* entrypoint 0": "where the image has daprd",
    "* entrypoint 4": "--dapr-listen-addresses: an app reaches its sidecar over a network of their own",
}


def _told_by_compose(document: Mapping[str, Any]) -> tuple[str, ...]:
    """Name what is said of apps, of sidecars and of what they are given; not how containers are kept."""
    sidecars = [name for name in document["services"] if name.endswith("-dapr")]
    pairs = [(name.removesuffix("-dapr"), each) for name in sidecars for each in (name, name.removesuffix("-dapr"))]
    return tuple({pattern.format(app=app, each=each) for pattern in TOLD_BY_COMPOSE for app, each in pairs})


@pytest.mark.timeout(600)  # many edits, and a slow machine
def test_an_edit_of_compose_is_found(root: Path) -> None:
    file = root / "docker-compose.yml"
    edits = each_edit(file, _told_by_compose(yaml.safe_load(file.read_text())), but=OWN_OF_COMPOSE)
    assert unfound(file, edits, lambda: found(COMPOSE, replace(here(), root=root)), least=100) == []


# Tye

PARTS = "it is no service of ours; test_tye.py holds it to where components/ expects it"
OWN_OF_TYE = {f"services {number} *": PARTS for number in (6, 7, 8)}


def test_an_edit_of_tye_is_found(root: Path) -> None:
    file = root / "tye.yaml"
    edits = each_edit(file, but=OWN_OF_TYE)
    assert unfound(file, edits, lambda: found(TYE, replace(here(), root=root)), least=30) == []


# k8s

APP = "spec template spec containers 0"
TOLD_BY_CLUSTER = (
    *(
        f"spec template metadata annotations dapr.io/{name}"
        for name in (
            "app-*",
            "block-shutdown-duration",
            "graceful-shutdown-seconds",
            "env",
            "config",
            "api-token-secret",
        )
    ),
    *(f"{APP} {what}" for what in ("name", "image", "env *", "ports *", "resources *", "readinessProbe httpGet *")),
    "spec template spec serviceAccountName",
)
OWN_OF_CLUSTER = {"* ephemeral-storage": "compose has no such bound"}


def cluster_with(root: Path, service: str) -> Sources:
    """Return the manifests with those of one service rendered anew."""
    anew = {named(each): each for each in _in_namespace(build(root / "k8s/base" / service))}
    rest = [anew.pop(named(each), each) for each in here().manifests]
    return Sources(root, (*rest, *anew.values()))


def _in_namespace(manifests: list[Any]) -> Iterator[Any]:
    for each in manifests:
        each["metadata"]["namespace"] = OURS
        yield each


@pytest.mark.parametrize(
    ("file", "least"),
    [
        ("components/service/deployment.yaml", 20),
        ("base/orders/deployment.yaml", 8),
        ("base/gateway/deployment.yaml", 6),
    ],
)
@pytest.mark.timeout(600)
def test_an_edit_of_a_deployment_is_found(root: Path, file: str, least: int) -> None:
    service = "gateway" if "gateway" in file else "orders"

    def look() -> list[str]:
        try:
            return found(CLUSTER, cluster_with(root, service))
        except AssertionError as error:  # kustomize refuses it
            return [str(error)]

    edits = each_edit(root / "k8s" / file, TOLD_BY_CLUSTER, but=OWN_OF_CLUSTER)
    assert unfound(root / "k8s" / file, edits, look, least=least) == []


TEXTS = {
    "a service's port": ("base/users/service.yaml", "port: 80\n", "port: 81\n"),
    "a target port": ("base/users/service.yaml", "targetPort: http", "targetPort: https"),
    "a service less": ("base/kustomization.yaml", "  - payments\n", ""),
    "the namespace": ("overlays/rabbitmq/kustomization.yaml", "namespace: outrigger", "namespace: other"),
    "a configuration": ("../dapr/cluster/users.yaml", "/api/v2/spans", "/spans"),
    "another setting": ("../dapr/cluster/users.yaml", '"1e-9"', '"1"'),
    "a broken identity": ("base/users/deployment.yaml", "dapr.io/app-id: users", "dapr.io/app-id: people"),
    "a resource less": ("base/platform/kustomization.yaml", "  - ../../../components/mail/localstorage\n", ""),
}


@pytest.mark.parametrize("what", TEXTS)
def test_another_edit_of_k8s_is_found(root: Path, what: str) -> None:
    name, old, new = TEXTS[what]
    file = root / "k8s" / name
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    try:
        told = sources(root)
    except AssertionError:  # kustomize refuses it
        return
    assert found(CLUSTER, told)
