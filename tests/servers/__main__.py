"""Run one broker's conformance suite and PostgreSQL's through containers, with an engine and images of our own.

Where an engine answers already, that one is used, with the usual images. Else Debian's is installed and started for as
long as the suite runs (`own.py`).
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import docker

from outrigger.choice import Broker
from servers.engine import engine
from servers.images import RECIPES, load
from servers.own import INSIDE, again_inside, dockerd, provide

SUITES = ("tests/brokers/test_conformance.py", "apps/chassis/tests/seam/test_seam.py")


def main() -> None:
    """Choose an engine, and end with what the suite ends with."""
    parser = argparse.ArgumentParser(prog="make containers")
    parser.add_argument("--broker", type=Broker, default=Broker.REDIS, choices=list(Broker))
    parser.add_argument(INSIDE, type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    names = [str(asked.broker), "postgresql", "daprd"]
    if asked.inside:
        sys.exit(_inside(asked.inside, asked.broker, names))
    if engine():
        sys.exit(_suite(asked.broker, {}))
    provide(names)
    sys.exit(again_inside("servers", "--broker", str(asked.broker)))


def _inside(folder: Path, broker: Broker, names: list[str]) -> int:
    """Run the suite on an engine that ends with it."""
    with dockerd(folder) as address:
        client = docker.DockerClient(base_url=address, timeout=300)
        images = {f"IMAGE_{name.upper()}": load(client, name) for name in names}
        client.close()
        # Its image would be one more; nothing outlives this engine anyway.
        return _suite(broker, {**images, "DOCKER_HOST": address, "TESTCONTAINERS_RYUK_DISABLED": "true"})


def _suite(broker: Broker, settings: Mapping[str, str]) -> int:
    words = ("-m", "pytest", "-q", *SUITES, "-k", f"{broker} or postgresql")
    env = {**os.environ, **settings, "CONTAINERS": "yes"}
    return subprocess.run((sys.executable, *words), env=env, check=False).returncode


if __name__ == "__main__":
    assert set(RECIPES) > set(Broker)
    main()
