"""docker-compose.yml, read by compose's own parser; and what must hold of every service in it."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from deploy.dockerfiles import image_faults
from outrigger.compose import prepare
from outrigger.home import Home
from outrigger.runtime_build import tool
from support.installation import REPOSITORY

NEEDED = ("components", "dapr/dapr.yaml", "dapr/config.yaml", "docker-compose.yml", ".env")
# Whose image runs as somebody who is not root without being told to: ours, Apache's and Zipkin's.
NOT_ROOT = ("outrigger/", "apache/kafka:", "openzipkin/zipkin:")
ROOT = {"logs"}  # the engine's files, which it collects, are root's; it has one capability, and a read-only root
Composition = dict[str, Any]


def install(root: Path) -> Home:
    """Copy what compose reads, and write the rest."""
    for name in NEEDED:
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy)(REPOSITORY / name, target)
    home = Home(root)
    prepare(home)
    return home


def parsed(home: Home) -> Composition:
    """Return what compose makes of the file; raises with its complaint."""
    parser = tool(Home(REPOSITORY), "tools-compose", "cmd")
    done = subprocess.run(
        [parser, "docker-compose.yml"], cwd=home.root, capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode != 0:
        raise ValueError(done.stderr.strip())
    return yaml.load(done.stdout, yaml.CSafeLoader)


def with_files(composition: Composition) -> Composition:
    """Put what a service's files of variables say beside what the file itself says."""
    for service in composition["services"].values():
        lines = [line for each in service.get("env_file", ()) for line in Path(each["path"]).read_text().splitlines()]
        told = dict(line.split("=", 1) for line in lines)
        service["environment"] = {**told, **(service.get("environment") or {})}
    return composition


def faults(composition: Composition) -> list[str]:
    """Tell what is not as it should be, by service."""
    return [f"{name}: {each}" for name, service in composition["services"].items() for each in _faults(name, service)]


def _faults(name: str, service: dict[str, Any]) -> Iterator[str]:
    yield from image_faults(service["image"])
    yield from (f"it lacks {what}" for what, there in _wanted(name, service).items() if not there)
    yield from (f"it has {key}" for key in ("privileged", "pid", "ipc", "network_mode", "devices") if service.get(key))
    for port in service.get("ports", ()):
        if port.get("host_ip") != "127.0.0.1":
            yield f"port {port['target']} is open to the network"
    for variable, value in (service.get("environment") or {}).items():
        if any(word in variable for word in ("PASSWORD", "TOKEN", "SECRET")) and not variable.endswith("_FILE"):
            yield f"{variable} stands there for all to read: {value!r}"
    for volume in service.get("volumes", ()):
        if "docker.sock" in str(volume.get("source")):
            yield "it may command the engine"


def _wanted(name: str, service: dict[str, Any]) -> dict[str, Any]:
    limits = service.get("deploy", {}).get("resources", {}).get("limits", {})
    return {
        "a read-only root": service.get("read_only"),
        "a drop of all capabilities": service.get("cap_drop") == ["ALL"],
        "no-new-privileges": "no-new-privileges:true" in service.get("security_opt", ()),
        "a limit of CPU": limits.get("cpus"),
        "a limit of memory": limits.get("memory"),
        "a limit of processes": limits.get("pids"),
        "a health check": service.get("healthcheck", {}).get("test"),
        "a restart policy": service.get("restart") == "unless-stopped",
        "a bound on its log": service.get("logging", {}).get("options", {}).get("max-size"),
        "a user": service.get("user", "").partition(":")[0] not in {"0", "root", ""}
        or service["image"].startswith(NOT_ROOT)
        or name in ROOT,
    }
