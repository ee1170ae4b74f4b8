"""What a run is: `.outrigger/run.json`, written by the supervisor, read by every other command.

A process is named by its id and start time together: ids are used again.
"""

import contextlib
from enum import StrEnum
from pathlib import Path

import psutil
from pydantic import BaseModel, Field, ValidationError

from outrigger.errors import LauncherError
from outrigger.home import find_home
from outrigger.ports import LOOPBACK


class Phase(StrEnum):
    """How far the run is."""

    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"


_SAME = 10.0  # s; no number comes again that soon


class ProcessState(BaseModel):
    """One process of the run."""

    name: str
    pid: int | None = None
    born: float | None = None  # seconds since the epoch, as the kernel tells it
    restarts: int = 0
    log: str = ""

    @classmethod
    def of(cls, pid: int, name: str, *, restarts: int = 0, log: str = "") -> "ProcessState":
        """Describe a process that runs now."""
        born = None
        with contextlib.suppress(psutil.Error):
            born = psutil.Process(pid).create_time()
        return cls(name=name, pid=pid, born=born, restarts=restarts, log=log)

    def process(self) -> psutil.Process | None:
        """Return the process if it is still that one and no zombie."""
        if self.pid is None:
            return None
        try:
            process = psutil.Process(self.pid)
            # In whole seconds since a start of the machine that a set clock moves.
            same = self.born is None or abs(process.create_time() - self.born) < _SAME
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.Error:
            return None


class ServiceState(BaseModel):
    """A replica of an app, and its sidecar."""

    app_id: str
    app_port: int
    dapr_http_port: int
    dapr_grpc_port: int
    app: ProcessState
    sidecar: ProcessState

    @property
    def app_url(self) -> str:
        """Where the app answers."""
        return f"http://{LOOPBACK}:{self.app_port}"

    @property
    def sidecar_url(self) -> str:
        """Where its sidecar's HTTP API answers."""
        return f"http://{LOOPBACK}:{self.dapr_http_port}"


class RunState(BaseModel):
    """The whole run."""

    name: str
    folder: str
    phase: Phase
    launcher: ProcessState
    gateway: str  # a URL
    broker: str = ""
    store: str = ""
    control: int = 0  # the port where the launcher takes orders; 0 before everything is ready
    parts: dict[str, ProcessState] = Field(default_factory=dict)
    urls: dict[str, str] = Field(default_factory=dict)  # of the parts that speak HTTP
    services: dict[str, ServiceState] = Field(default_factory=dict)  # by replica: `orders`, `orders-1`, ...

    @property
    def firsts(self) -> dict[str, ServiceState]:
        """One replica of each service, by its app's id."""
        return {name: service for name, service in self.services.items() if name == service.app_id}

    def processes(self) -> list[ProcessState]:
        """Return every process but the launcher."""
        pairs = [process for service in self.services.values() for process in (service.app, service.sidecar)]
        return [*pairs, *self.parts.values()]

    def alive(self) -> bool:
        """Tell whether the launcher still runs."""
        return self.launcher.process() is not None

    def save(self, path: Path) -> None:
        """Write it so that no reader ever sees half of it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".draft")
        draft.write_text(self.model_dump_json(indent=2))
        draft.replace(path)


def read_run(path: Path) -> RunState | None:
    """Read the state of a run, live or left over; None if there is none that can be read."""
    try:
        return RunState.model_validate_json(path.read_text())
    except (OSError, ValidationError):
        return None


def current_run() -> RunState:
    """Return the live run of this folder, or say that there is none."""
    run = read_run(find_home().run_file)
    if run is None or not run.alive():
        raise LauncherError("Nothing runs here: start it with `outrigger up`.")
    return run
