"""The compose file as a project of its own on an engine: compose's own commands, and its containers."""

import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import docker
from docker.models.containers import Container

from outrigger.compose import prepare
from outrigger.home import Home, find_home
from outrigger.ports import free_ports
from outrigger.runtime_build import tool

NAME = "outrigger-test"
_SECONDS = 900


@dataclass(frozen=True, slots=True)
class Project:
    """docker-compose.yml under another name, on free ports; `settings` are variables that it reads."""

    home: Home
    client: docker.DockerClient
    settings: Mapping[str, str]
    port: int
    zipkin: int

    def run(self, *words: str) -> str:
        """Call compose and return what it says; raises with that where it fails."""
        compose = tool(self.home, "compose", "cmd")
        argv = [compose, "--project-name", NAME, "--progress", "plain", *words]
        env = {**os.environ, **self.settings, "PORT": str(self.port), "ZIPKIN_PORT": str(self.zipkin)}
        done = subprocess.run(
            argv, cwd=self.home.root, env=env, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"compose {' '.join(words)} ended with {done.returncode}:\n{done.stderr[-3000:]}")
        return done.stdout

    def containers(self) -> dict[str, Container]:
        """Return what is there, by the name of its service."""
        found = self.client.containers.list(all=True, filters={"label": f"com.docker.compose.project={NAME}"})
        return {container.labels["com.docker.compose.service"]: container for container in found}

    def state(self, service: str) -> dict[str, Any]:
        """Ask how a container stands now."""
        return self.containers()[service].attrs["State"]

    def addresses(self, service: str) -> list[str]:
        """Return a container's addresses in all of its networks."""
        told = self.containers()[service].attrs["NetworkSettings"]["Networks"]
        return [each["IPAddress"] for each in told.values()]

    def crash(self, service: str) -> None:
        """Kill what runs in a container, behind the engine's back."""
        os.kill(self.state(service)["Pid"], signal.SIGKILL)

    def inside(self, service: str, code: str) -> str:
        """Run Python in an app's container, as its user; returns what it prints."""
        done = self.containers()[service].exec_run(["/app/bin/python", "-IBc", code])
        assert isinstance(done.output, bytes)
        return done.output.decode().strip()


def project(client: docker.DockerClient, settings: Mapping[str, str]) -> Project:
    """Write what the compose file reads, and choose ports."""
    home = find_home()
    prepare(home)
    port, zipkin = free_ports(2)
    return Project(home, client, settings, port, zipkin)
