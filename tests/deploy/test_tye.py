"""tye.yaml: Tye's own rules, and the same services, ports, components and environment as dapr/dapr.yaml."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from deploy.tye import Service, Sidecar, Tye
from outrigger.home import Home
from outrigger.template import App, read_template
from outrigger.tye import prepare_tye
from support.installation import REPOSITORY

TEMPLATE = read_template(REPOSITORY / "dapr" / "dapr.yaml")
APPS = {app.app_id: app for app in TEMPLATE.apps}


def written() -> dict[str, Any]:
    return yaml.safe_load((REPOSITORY / "tye.yaml").read_text())


def system() -> Tye:
    return Tye.model_validate(written())


def service(name: str) -> Service:
    (found,) = [each for each in system().services if each.name == name]
    return found


def sidecar(name: str) -> Sidecar:
    return system().extensions[0].services[name]


def test_it_is_as_tye_wants_it() -> None:
    assert {each.name for each in system().services} == {*APPS, "bank", "redis", "zipkin"}


@pytest.mark.parametrize("place", [(), ("services", 0), ("services", 0, "bindings", 0), ("extensions", 0)])
def test_a_key_that_tye_does_not_know_is_found(place: tuple[str | int, ...]) -> None:
    document: Any = written()
    part = document
    for step in place:
        part = part[step]
    part["comment"] = "x"
    with pytest.raises(ValidationError, match="comment"):
        Tye.model_validate(document)


def test_a_service_of_two_kinds_is_found() -> None:
    document = written()
    document["services"][0]["image"] = "x"
    with pytest.raises(ValidationError, match="2 kinds"):
        Tye.model_validate(document)


def test_sidecars_are_those_of_the_template_and_no_more() -> None:
    """Tye gives one to everything with an http binding that is not excepted."""
    excepted = {name for name, each in system().extensions[0].services.items() if each.enabled is False}
    assert {each.name for each in system().services if each.by_http} - excepted == set(APPS)


@pytest.mark.parametrize("app", APPS.values(), ids=lambda app: app.app_id)
def test_an_app_has_the_template_s_ports_command_and_environment(app: App) -> None:
    ours, its = service(app.app_id), sidecar(app.app_id)
    assert (its.app_id, its.http_port, its.grpc_port) == (app.app_id, app.dapr_http_port, app.dapr_grpc_port)
    assert its.metrics_port == app.metrics_port
    assert [binding.port for binding in ours.bindings] == [app.app_port]
    # Tye looks for the program from where it runs itself, the project's folder.
    assert app.command[0] == f"../../{ours.executable}"
    assert (ours.args or "").split() == app.command[1:]
    assert f"../{ours.working_directory}" == app.app_dir_path
    told = {each.name: each.value for each in ours.env}
    given = {"APP_ID": app.app_id, "APP_PORT": str(app.app_port), "OUTRIGGER_INSTANCE": f"{app.app_id}-0"}
    assert told == {**TEMPLATE.env(app), **given}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    for name in ("components", "dapr/dapr.yaml", "dapr/config.yaml"):
        target = tmp_path / name
        target.parent.mkdir(exist_ok=True)
        (shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy)(REPOSITORY / name, target)
    return Home(tmp_path)


def test_the_folder_of_resources_has_all_of_the_template_s(home: Home) -> None:
    extension = system().extensions[0]
    assert prepare_tye(home) == home.root / str(extension.components_path)
    there = {path.name for path in (home.root / str(extension.components_path)).iterdir()}
    sources = [REPOSITORY / "dapr" / folder for folder in TEMPLATE.common.resources_paths]
    assert there == {path.name for folder in sources for path in folder.glob("*.yaml")} | {f"{extension.config}.yaml"}


def test_their_paths_are_for_sidecars_that_start_in_the_project_s_folder(home: Home) -> None:
    texts = [path.read_text() for path in prepare_tye(home).iterdir()]
    assert not any("../" in text for text in texts)
    assert sum(".outrigger/" in text for text in texts) == 4  # store, mail, and both secret stores


def test_parts_are_where_the_components_expect_them(home: Home) -> None:
    folder = prepare_tye(home)
    (port,) = [str(binding.port) for binding in service("redis").bindings]
    assert f"127.0.0.1:{port}" in (folder / "pubsub.yaml").read_text()
    (port,) = [str(binding.port) for binding in service("bank").bindings]
    assert f"http://127.0.0.1:{port}" in (folder / "bank.yaml").read_text()
    (port,) = [str(binding.port) for binding in service("zipkin").bindings]
    assert f"http://localhost:{port}/" in (folder / "config.yaml").read_text()
