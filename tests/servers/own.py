"""An engine of our own, for where none answers: Debian's, in namespaces of its own, for as long as something runs.

The machine's bridges, packet filters and mounts stay as they are. What needs the network is got before, outside.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
from docker.errors import DockerException

from servers.images import make
from support.polling import eventually

PACKAGES = {"dockerd": "docker.io", "debootstrap": "debootstrap", "ip": "iproute2"}
WHAT_TO_DO = "No Docker engine answers. Start one and try again, or be root on Debian: then it is installed from there."
INSIDE = "--inside"


def provide(names: Iterable[str]) -> None:
    """Get what needs the network: Debian's packages, and the images' file systems."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        sys.exit(WHAT_TO_DO)
    if missing := [package for program, package in PACKAGES.items() if not shutil.which(program)]:
        subprocess.run(["apt-get", "update", "-qq"], check=True, timeout=300)
        subprocess.run(["apt-get", "install", "-qqy", "--no-install-recommends", *missing], check=True, timeout=900)
    for name in names:
        make(name)


def again_inside(*module: str) -> int:
    """Run this program again in namespaces of its own, and tell it of a folder; returns how it ended."""
    with tempfile.TemporaryDirectory(prefix="outrigger-docker-") as folder:
        words = (sys.executable, "-m", *module, INSIDE, folder)
        return subprocess.run(("unshare", "--net", "--mount", *words), check=False).returncode


@contextmanager
def dockerd(folder: Path) -> Iterator[str]:
    """Run an engine that keeps all it has in a folder; yields its address. To be called inside."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True, timeout=10)
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
