"""Run one broker's conformance suite and PostgreSQL's through containers, with an engine and images of our own.

Where an engine answers already, that one is used, with the usual images. Else Debian's is installed and started for as
long as the suite runs, in namespaces of its own: the machine's bridges, packet filters and mounts stay as they are.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import docker
from docker.errors import DockerException

from outrigger.choice import Broker
from servers.engine import engine
from servers.images import RECIPES, load, make
from support.polling import eventually

PACKAGES = {"dockerd": "docker.io", "debootstrap": "debootstrap", "ip": "iproute2"}
SUITES = ("tests/brokers/test_conformance.py", "apps/chassis/tests/seam/test_seam.py")
WHAT_TO_DO = "No Docker engine answers. Start one and try again, or be root on Debian: then it is installed from there."
INSIDE = "--inside"


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
    _provide(names)
    with tempfile.TemporaryDirectory(prefix="outrigger-docker-") as folder:
        again = (sys.executable, "-m", "servers", "--broker", str(asked.broker), INSIDE, folder)
        sys.exit(subprocess.run(("unshare", "--net", "--mount", *again), check=False).returncode)


def _provide(names: list[str]) -> None:
    """Get what needs the network: Debian's packages, and the images' file systems."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        sys.exit(WHAT_TO_DO)
    if missing := [package for program, package in PACKAGES.items() if not shutil.which(program)]:
        subprocess.run(["apt-get", "update", "-qq"], check=True, timeout=300)
        subprocess.run(["apt-get", "install", "-qqy", "--no-install-recommends", *missing], check=True, timeout=900)
    for name in names:
        make(name)


def _inside(folder: Path, broker: Broker, names: list[str]) -> int:
    """Run the suite on an engine that ends with it."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True, timeout=10)
    with _dockerd(folder) as address:
        client = docker.DockerClient(base_url=address, timeout=300)
        images = {f"IMAGE_{name.upper()}": load(client, name) for name in names}
        client.close()
        # Its image would be one more; nothing outlives this engine anyway.
        return _suite(broker, {**images, "DOCKER_HOST": address, "TESTCONTAINERS_RYUK_DISABLED": "true"})


@contextmanager
def _dockerd(folder: Path) -> Iterator[str]:
    """Run an engine that keeps all it has in a folder; yields its address."""
    address = f"unix://{folder}/sock"
    places = {"data-root": "data", "exec-root": "exec", "pidfile": "pid"}
    flags = [word for flag, name in places.items() for word in (f"--{flag}", f"{folder}/{name}")]
    argv = ["setpriv", "--pdeathsig", "TERM", "dockerd", "--host", address, *flags]
    with (folder / "log").open("wb") as log, subprocess.Popen(argv, stdout=log, stderr=log) as process:
        try:
            eventually(lambda: _answers(process, address), within=60, what="dockerd answers")
            yield address
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def _answers(process: subprocess.Popen[bytes], address: str) -> bool:
    if process.poll() is not None:
        log = Path(address.removeprefix("unix://")).with_name("log").read_text()
        raise RuntimeError(f"dockerd ended with {process.returncode}:\n{log[-2000:]}")
    if not Path(address.removeprefix("unix://")).exists():
        return False
    try:
        client = docker.DockerClient(base_url=address, timeout=5)
    except DockerException:
        return False
    client.close()
    return True


def _suite(broker: Broker, settings: Mapping[str, str]) -> int:
    words = ("-m", "pytest", "-q", *SUITES, "-k", f"{broker} or postgresql")
    env = {**os.environ, **settings, "CONTAINERS": "yes"}
    return subprocess.run((sys.executable, *words), env=env, check=False).returncode


if __name__ == "__main__":
    assert set(RECIPES) > set(Broker)
    main()
