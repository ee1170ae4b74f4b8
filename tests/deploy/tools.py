"""The programs that render and judge manifests, built once a machine from the module that pins them."""

import json
import os
import re
import subprocess
from functools import cache
from pathlib import Path

from outrigger.golang import find_go
from outrigger.home import Home
from outrigger.runtime_build import tool as built_tool
from support.installation import REPOSITORY

HOME = Home(REPOSITORY)
RUNTIME = HOME.runtime_module


@cache
def tool(name: str) -> Path:
    """Return kustomize, kube-score or inject."""
    return built_tool(HOME, "tools-k8s", name)


def run(name: str, *arguments: str | Path, told: str = "", allowed: tuple[int, ...] = (0,)) -> str:
    """Run one of the programs; returns what it writes, and fails with what it complains of."""
    done = subprocess.run(
        [tool(name), *arguments], input=told, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode in allowed, done.stderr or done.stdout
    return done.stdout


@cache
def module_folder(name: str, pins: Path) -> Path:
    """Return the source of a Go module, in the version and with the checksum that `go.mod` and `go.sum` there say."""
    found = re.search(rf"\b{re.escape(name)} (v\S+)", (pins / "go.mod").read_text())
    assert found, f"{pins}/go.mod does not name {name}"
    command = [find_go(), "mod", "download", "-json", f"{name}@{found[1]}"]
    environment = os.environ | {"GOTOOLCHAIN": "local", "GOFLAGS": "", "GOWORK": "off"}
    done = subprocess.run(command, cwd=pins, env=environment, capture_output=True, text=True, timeout=100, check=False)
    told = json.loads(done.stdout or "{}")
    assert done.returncode == 0, done.stderr + told.get("Error", "")
    assert f"{name} {found[1]} {told['Sum']}\n" in (pins / "go.sum").read_text()
    return Path(told["Dir"])
