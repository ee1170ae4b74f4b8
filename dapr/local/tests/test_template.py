"""The run template: every key is known, faults are named, values merge as in the Dapr CLI."""

from pathlib import Path

import pytest

from outrigger.errors import LauncherError
from outrigger.home import Home
from outrigger.template import Template, read_template, resolve

SMALLEST = """
version: 1
name: small
common: {resourcesPaths: [resources], %(common)s}
apps:
  - appID: one
    appDirPath: ../apps/one
    appPort: 8001
    daprHTTPPort: 3501
    daprGRPCPort: 50001
    daprInternalGRPCPort: 50002
    command: [python, -m, one]
    %(app)s
"""


def template(tmp_path: Path, *, common: str = "", app: str = "") -> Template:
    path = tmp_path / "dapr.yaml"
    path.write_text(SMALLEST % {"common": common, "app": app})
    return read_template(path)


def test_the_project_s_own_template_holds(home: Home) -> None:
    apps = read_template(home.template).apps
    assert [app.app_id for app in apps] == ["gateway", "orders", "inventory", "users", "payments", "notifications"]
    assert all(resolve(home.template.parent, app.app_dir_path).is_dir() for app in apps)


def test_its_ports_are_all_different(home: Home) -> None:
    fields = ("app_port", "dapr_http_port", "dapr_grpc_port", "dapr_internal_grpc_port", "metrics_port")
    ports = [getattr(app, field) for app in read_template(home.template).apps for field in fields]
    assert len(set(ports)) == len(ports)


@pytest.mark.parametrize(
    ("where", "place"),
    [({"common": "resourcePaths: [x]"}, "common.resourcePaths"), ({"app": "daprHttpPort: 1"}, "apps.0.daprHttpPort")],
)
def test_an_unknown_key_is_refused_and_named(tmp_path: Path, where: dict[str, str], place: str) -> None:
    with pytest.raises(LauncherError, match=rf"{place} is no key that is known here"):
        template(tmp_path, **where)


def test_a_wrong_value_is_named(tmp_path: Path) -> None:
    with pytest.raises(LauncherError, match=r"apps\.0\.metricsPort"):
        template(tmp_path, app="metricsPort: 70000")


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(LauncherError, match="cannot be read"):
        read_template(tmp_path / "none.yaml")


def test_an_app_s_value_wins_but_false_is_no_value(tmp_path: Path) -> None:
    read = template(tmp_path, common="logLevel: info, enableAppHealthCheck: true", app="logLevel: debug")
    assert read.setting(read.apps[0], "log_level") == "debug"
    read = template(tmp_path, common="enableAppHealthCheck: true", app="enableAppHealthCheck: false")
    assert read.setting(read.apps[0], "enable_app_health_check") is True


def test_environments_merge_by_key(tmp_path: Path) -> None:
    read = template(tmp_path, common="env: {A: common, B: common}", app="env: {B: own}")
    assert read.env(read.apps[0]) == {"A": "common", "B": "own"}
