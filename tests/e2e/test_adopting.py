"""The chassis alone, in somebody else's repository: a wheel, one file, two components, a sidecar."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from outrigger.home import Home
from outrigger.ports import free_ports
from outrigger.runtime import daprd
from support.installation import REPOSITORY, ask, reachable
from support.polling import eventually

EXAMPLE = REPOSITORY / "docs" / "adopt"
# What setup has fetched is enough: no test depends on the network.
UV = (str(REPOSITORY / "dapr" / "local" / "uv.sh"), "0.13.8", "--offline")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder with the example, and a venv that holds the chassis as it is installed, and nothing else of ours."""
    home = tmp_path / "my repository"
    shutil.copytree(EXAMPLE, home, ignore=shutil.ignore_patterns("__pycache__"))
    sync = (*UV, "sync", "--frozen", "--package", "chassis", "--no-editable", "--no-dev")
    env = {**os.environ, "UV_PROJECT_ENVIRONMENT": str(home / ".venv")}
    done = subprocess.run(sync, cwd=REPOSITORY, env=env, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return home


@pytest.fixture
def counting(elsewhere: Path) -> Iterator[str]:
    """Run the app and its sidecar, as `dapr run` would; yields the app's address."""
    app, http, grpc, internal = free_ports(4)
    env = {"APP_PORT": str(app), "DAPR_HTTP_PORT": str(http), "DAPR_HOST_IP": "127.0.0.1", "PATH": os.environ["PATH"]}
    flags = {
        "app-id": "counter", "app-port": app, "dapr-http-port": http, "dapr-grpc-port": grpc,
        "dapr-internal-grpc-port": internal, "resources-path": "components", "dapr-listen-addresses": "127.0.0.1",
        "enable-metrics": "false",
    }  # fmt: skip
    words = [f"--{flag}={value}" for flag, value in flags.items()]
    with (elsewhere / "log").open("ab") as log:
        children = [
            subprocess.Popen([daprd(Home(REPOSITORY)), *words], cwd=elsewhere, env=env, stdout=log, stderr=log),
            subprocess.Popen([".venv/bin/python", "counter.py"], cwd=elsewhere, env=env, stdout=log, stderr=log),
        ]
        try:
            url = f"http://127.0.0.1:{app}"
            eventually(lambda: reachable(url, "/ready"), within=60, what=f"it is ready; see {elsewhere}/log")
            yield url
        finally:
            for child in reversed(children):
                child.send_signal(signal.SIGTERM)
                child.wait(30)


@pytest.mark.e2e
@pytest.mark.timeout(300)
def test_a_service_of_your_own(counting: str) -> None:
    headers = {"content-type": "application/json", "Idempotency-Key": "first"}
    answers = [ask(counting, "POST", "/count", b'{"name": "visitors"}', headers).status for _ in range(3)]
    assert answers == [202, 202, 202]
    assert ask(counting, "GET", "/counter?name=visitors").json == {"value": 1}
    assert ask(counting, "GET", "/counter?name=nobody").status == 404
