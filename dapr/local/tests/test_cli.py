"""What a user sees when something is not as it should be: one sentence, exit code 1."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from outrigger.home import Home, find_home
from outrigger.parts import BANK
from outrigger.plan import make_plan
from outrigger.secretfile import BANK_KEY


def outrigger(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "outrigger.cli", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("command", [["status"], ["order"]])
def test_without_a_run_it_says_how_to_start_one(home: Home, command: list[str]) -> None:
    done = outrigger(home.root, *command)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "outrigger: Nothing runs here: start it with `outrigger up`.\n"


def test_down_without_a_run_is_no_error(home: Home) -> None:
    done = outrigger(home.root, "down")
    assert done.returncode == 0
    assert "Nothing runs here" in done.stdout


def test_a_fault_in_the_template_is_found_by_the_doctor(home: Home) -> None:
    home.template.write_text(home.template.read_text().replace("daprHTTPPort: 3501", "daprHttpPort: 3501"))
    done = outrigger(home.root, "doctor")
    assert done.returncode == 1
    assert "daprHttpPort is no key that is known here" in done.stdout


def test_the_project_is_found_from_a_folder_inside_it(home: Home) -> None:
    assert find_home(home.root / "apps" / "orders") == home


def test_a_plan_keeps_only_the_gateway_s_port(home: Home) -> None:
    plan = make_plan(home, Path("/none/daprd"), 20_001)
    ports = {service.app_id: service.ports for service in plan.services}
    assert plan.gateway_url == "http://127.0.0.1:20001"
    assert ports["gateway"].app == 20_001
    assert ports["orders"].app != 8081


def test_a_plan_renders_the_broker_s_address(home: Home) -> None:
    plan = make_plan(home, Path("/none/daprd"), 20_001)
    plan.write_resources()
    broker = next(part for part in plan.parts if part.command.name == "valkey")
    assert broker.addresses["pubsub.redis", "redisHost"] in (home.resources / "pubsub.yaml").read_text()
    assert home.data.is_dir()


def test_a_plan_gives_the_bank_its_address_and_its_key(home: Home) -> None:
    plan = make_plan(home, Path("/none/daprd"), 20_001)
    plan.write_resources()
    bank = next(part for part in plan.parts if part.command.name == "bank")
    assert yaml.safe_load((home.resources / "bank.yaml").read_text())["spec"]["baseUrl"] == bank.url
    assert bank.addresses == {(BANK, "baseUrl"): bank.url}
    assert bank.command.env["BANK_PORT"] in bank.url
    key = json.loads(Path(bank.command.env["BANK_API_KEY_FILE"]).read_text())[BANK_KEY]
    assert not [value for value in bank.command.env.values() if key in value]


def test_secrets_are_made_by_setup_too(home: Home) -> None:
    done = outrigger(home.root, "secrets")
    assert done.stdout == f"{home.secrets}\n"
    assert home.secrets.is_file()
