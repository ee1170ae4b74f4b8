"""A real daprd for tests: found, started on the loopback address, waited for, stopped. No service imports this.

`real_daprd(folder, sqlite(...), IN_MEMORY)` is one running sidecar; `require_daprd` skips loudly where there is none.
"""

import importlib
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import NoReturn

import pytest

LOOPBACK = "127.0.0.1"
START_SECONDS = 30.0
STOP_SECONDS = 10.0
POLL_SECONDS = 0.02
_PORTS = range(12_000, 20_000)  # below what the kernel gives to outgoing connections

_COMPONENT = """apiVersion: dapr.io/v1alpha1
kind: Component
metadata:
  name: {name}
spec:
  type: {type}
  version: v1
  metadata: [{metadata}]
"""


@dataclass(frozen=True, slots=True)
class RealDaprd:
    """A running sidecar: its HTTP API and its log."""

    url: str
    log: Path


def component(name: str, kind: str, **metadata: str) -> str:
    """Write a component's YAML."""
    pairs = ", ".join(f'{{name: {key}, value: "{value}"}}' for key, value in metadata.items())
    return _COMPONENT.format(name=name, type=kind, metadata=pairs)


def sqlite(file: Path, name: str = "store") -> str:
    """Write the YAML of a SQLite store that waits up to 15 s for a lock."""
    return component(name, "state.sqlite", connectionString=f"file:{file}", busyTimeout="15s", timeout="20s")


IN_MEMORY = component("pubsub", "pubsub.in-memory")


def find_daprd() -> Path | None:
    """Return the one that the launcher would run, if it need not be built; without our launcher `DAPRD` or PATH's.

    A test fails where `DAPRD` names something unusable.
    """
    try:
        runtime, home, errors = (importlib.import_module(f"outrigger.{name}") for name in ("runtime", "home", "errors"))
    except ImportError:
        found = shutil.which(os.environ.get("DAPRD") or "daprd")
        return Path(found) if found else None
    try:
        return runtime.present(home.find_home())
    except errors.LauncherError as error:
        refusal = str(error)
    pytest.fail(refusal, pytrace=False)


def require_daprd() -> Path:
    """Return a daprd; without one the test is skipped, and fails where `CI` is set."""
    if found := find_daprd():
        return found
    reason = "NO DAPRD: the tests against the real sidecar did not run. Run `make setup`, or set DAPRD to a binary."
    return untested(reason)


def untested(reason: str) -> NoReturn:
    """Leave a test out for what this machine lacks: it is skipped, loudly, and fails where `CI` is set."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def free_ports(count: int) -> list[int]:
    """Return different ports that nobody listens on."""
    with ExitStack() as held:
        ports: list[int] = []
        while len(ports) < count:  # all stay bound until the last is found, so that none comes twice
            port = random.choice(_PORTS)  # noqa: S311 - no secret
            if listener := _listener(port):
                held.enter_context(listener)
                ports.append(port)
        return ports


def poll(condition: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Ask again and again until it is so; fails when the time is over."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds} s: {what}")
        time.sleep(POLL_SECONDS)


@contextmanager
def real_daprd(
    folder: Path, *components: str, app_id: str = "seam", app_port: int | None = None, log_level: str = "debug"
) -> Iterator[RealDaprd]:
    """Run a sidecar whose resources, log and working directory are in `folder`; yields when its components are up."""
    resources = folder / "resources"
    resources.mkdir(parents=True)
    for number, text in enumerate(components):  # a file each: of resiliency policies only a file's first is read
        (resources / f"{number}.yaml").write_text(text)
    ports = free_ports(3)
    sidecar = RealDaprd(f"http://{LOOPBACK}:{ports[0]}", folder / "daprd.log")
    command = [str(require_daprd()), *_flags(ports, resources, app_id=app_id, app_port=app_port, log_level=log_level)]
    with sidecar.log.open("wb") as log, running(command, folder, log.fileno()) as process:
        poll(lambda: _up(process, ports[0], sidecar.log), seconds=START_SECONDS, what=f"daprd up, see {sidecar.log}")
        yield sidecar


@contextmanager
def running(command: list[str], folder: Path, log: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program; ends it with SIGTERM, waits, and fails if it has to be killed."""
    # A token or a port in our own environment is not meant for this one.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DAPR_")} | {"DAPR_HOST_IP": LOOPBACK}
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)  # noqa: S603
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            pytest.fail(f"{command[0]} did not stop within {STOP_SECONDS} s")


def _flags(ports: list[int], resources: Path, *, app_id: str, app_port: int | None, log_level: str) -> list[str]:
    pairs = {
        "--app-id": app_id,
        "--dapr-http-port": ports[0],
        "--dapr-grpc-port": ports[1],
        "--dapr-internal-grpc-port": ports[2],
        "--dapr-listen-addresses": LOOPBACK,
        "--dapr-internal-grpc-listen-address": LOOPBACK,
        "--resources-path": resources,
        "--log-level": log_level,
    } | ({"--app-port": app_port} if app_port else {})
    return [str(part) for pair in pairs.items() for part in pair] + ["--enable-metrics=false"]


def _up(process: subprocess.Popen[bytes], port: int, log: Path) -> bool:
    if process.poll() is not None:
        pytest.fail(f"daprd ended with {process.returncode}:\n{log.read_text(errors='replace')[-3000:]}")
    with closing(HTTPConnection(LOOPBACK, port, timeout=2)) as connection:
        try:
            connection.request("GET", "/v1.0/healthz/outbound")
            return connection.getresponse().status < 300  # noqa: PLR2004 - any success
        except (OSError, HTTPException):
            return False


def _listener(port: int) -> socket.socket | None:
    listener = socket.socket()
    try:
        listener.bind((LOOPBACK, port))
    except OSError:
        listener.close()
        return None
    return listener
