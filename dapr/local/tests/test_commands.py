"""What is executed for a sidecar is a contract with the Dapr CLI, which reads the process table."""

from pathlib import Path

import pytest

from outrigger.commands import GO, Command, Ports, app_command, sidecar_command
from outrigger.home import Home
from outrigger.template import read_template

PORTS = Ports(app=21001, http=21002, grpc=21003, internal=21004)


def sidecar(home: Home) -> Command:
    template = read_template(home.template)
    return sidecar_command(home, template, template.apps[1], PORTS, Path("/some where/daprd"))


def app(home: Home) -> Command:
    template = read_template(home.template)
    return app_command(home, template, template.apps[1], PORTS)


def as_cli_1_14_reads(command: Command) -> dict[str, str]:
    """Read flags two by two, whatever they are, from the line split at spaces."""
    items = " ".join(command.argv).split()
    return {items[i]: items[i + 1] for i in range(1, len(items) - 1, 2)}


def test_it_is_named_daprd_wherever_it_lies(home: Home) -> None:
    assert sidecar(home).argv[0] == "daprd"


def test_the_cli_finds_id_and_ports(home: Home) -> None:
    read = as_cli_1_14_reads(sidecar(home))
    assert read["--app-id"] == "orders"
    assert read["--dapr-http-port"] == "21002"
    assert read["--dapr-grpc-port"] == "21003"
    assert read["--app-port"] == "21001"


def test_the_app_id_is_not_last_and_flags_without_value_are(home: Home) -> None:
    argv = sidecar(home).argv
    assert argv.index("--app-id") < len(argv) - 4
    assert [flag for flag in argv if "=" in flag] == [argv[-1]]


def test_no_argument_holds_a_space_though_the_folder_does(home: Home) -> None:
    assert " " in str(home.root)
    assert not [part for part in sidecar(home).argv if " " in part]


def test_everything_listens_on_the_loopback_address_only(home: Home) -> None:
    command = sidecar(home)
    read = as_cli_1_14_reads(command)
    assert read["--dapr-listen-addresses"] == read["--dapr-internal-grpc-listen-address"] == "127.0.0.1"
    assert command.env["DAPR_HOST_IP"] == "127.0.0.1"
    assert "--enable-metrics=false" in command.argv


def test_the_paths_are_right_from_the_app_s_folder(home: Home) -> None:
    command = sidecar(home)
    read = as_cli_1_14_reads(command)
    assert (command.folder / read["--resources-path"]).resolve() == home.resources.resolve()
    assert (command.folder / read["--config"]).resolve() == (home.configs / "config.yaml").resolve()


def test_the_app_is_told_what_dapr_run_tells(home: Home) -> None:
    env = app(home).env
    assert (env["APP_ID"], env["APP_PORT"]) == ("orders", "21001")
    assert (env["DAPR_HTTP_PORT"], env["DAPR_GRPC_PORT"]) == ("21002", "21003")


def test_the_app_runs_in_its_folder_with_the_project_s_python(home: Home) -> None:
    command = app(home)
    assert command.folder == home.root / "apps/orders"
    assert command.executable == home.root / ".venv/bin/python"
    assert command.argv[1:] == ("-m", "orders.main")


def test_the_user_s_own_dapr_settings_stay_out(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAPR_API_TOKEN", "secret")
    monkeypatch.setenv("APP_PROTOCOL", "grpc")
    assert "DAPR_API_TOKEN" not in {**app(home).env, **sidecar(home).env}
    assert app(home).env["APP_PROTOCOL"] == "http"


def test_a_sidecar_s_collector_is_calm_unless_told_otherwise(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sidecar(home).env["GOGC"] == GO["GOGC"]
    monkeypatch.setenv("GOGC", "50")
    assert sidecar(home).env["GOGC"] == "50"


@pytest.mark.parametrize(("cores", "threads"), [(1, "1"), (2, "1"), (64, "10")])
def test_sidecars_share_the_cores(home: Home, monkeypatch: pytest.MonkeyPatch, cores: int, threads: str) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    assert sidecar(home).env["GOMAXPROCS"] == threads
