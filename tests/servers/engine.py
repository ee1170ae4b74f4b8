"""Where servers of tests run: in containers where a Docker engine answers, else as processes of this machine.

`CONTAINERS=no` asks for processes all the same; `CONTAINERS=yes` fails where no engine answers. An image is chosen by
an environment variable, such as `IMAGE_REDIS`; a name without a registry means what the engine makes of it.
"""

import os
import socket
from functools import cache

import docker
from docker.errors import DockerException

IMAGES = {
    "redis": "redis:7",
    "rabbitmq": "rabbitmq:3",
    "kafka": "apache/kafka:4.4.0",
    "postgresql": "postgres:18",
    "daprd": "daprio/daprd:1.14.0",
}
PROCESSES = "processes of their own"
_SECONDS = 5  # that an engine on this machine may take to answer


def image(name: str) -> str:
    """Return the image of a server."""
    return os.environ.get(f"IMAGE_{name.upper()}") or IMAGES[name]


def contained() -> bool:
    """Tell whether servers run in containers."""
    wish = os.environ.get("CONTAINERS", "")
    if wish == "no":
        return False
    if wish == "yes" and not engine():
        raise RuntimeError("CONTAINERS=yes, and no Docker engine answers: start one, or set DOCKER_HOST.")
    return bool(engine())


@cache
def engine() -> str:
    """Return what answers, with its version; nothing where no engine does."""
    if not _listens(os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"):
        return ""
    try:
        client = docker.DockerClient.from_env(timeout=_SECONDS)
    except (DockerException, OSError):
        return ""
    try:
        return f"Docker {client.version()['Version']}"
    except (DockerException, OSError):
        return ""
    finally:
        client.close()


def _listens(address: str) -> bool:
    """Tell whether somebody listens there. Docker's own client leaves its socket open where nobody does."""
    kind, _, path = address.partition("://")
    if kind != "unix":
        return True
    with socket.socket(socket.AF_UNIX) as attempt:
        attempt.settimeout(_SECONDS)
        return attempt.connect_ex(path) == 0


def used() -> str:
    """Say where servers run, for the report of a run."""
    return f"containers ({engine()})" if contained() else PROCESSES
