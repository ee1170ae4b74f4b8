"""What is executed for a service: the app's command line and its sidecar's, with environment, folder and log file.

The Dapr CLI finds sidecars by their process name and command line, so the shape here is a contract: the process is
named `daprd`, flags are `--flag value` pairs from the first on, `--app-id` is not last, flags without a value come
at the end.
"""

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from outrigger.home import Home
from outrigger.ports import LOOPBACK
from outrigger.template import App, Template, resolve

TRACES = "OTEL_EXPORTER_ZIPKIN_ENDPOINT"  # as OpenTelemetry names it
DRAIN = 25  # s that a stopping sidecar keeps serving its app; above the app's own limit for draining
# Go collects when the heap has doubled, and a sidecar's is so small that it does all the time. At tripled it needs 7 %
# less CPU an order and holds 130 MB, not 117; with 400 another 2 % less and 158 MB. The limit bounds what is large.
GO = {"GOGC": "200", "GOMEMLIMIT": "512MiB"}


@dataclass(frozen=True, slots=True)
class Command:
    """A process to run. `executable` is what is loaded, `argv[0]` what the process list shows.

    `door` is a listening socket that it inherits, and finds under its number in `APP_FD`.
    `farewell` is the signal that asks it to end.
    """

    name: str
    executable: Path
    argv: tuple[str, ...]
    folder: Path
    env: Mapping[str, str]
    log: Path
    farewell: signal.Signals = signal.SIGTERM
    door: int | None = None

    def behind(self, door: int) -> "Command":
        """Return the same with a door."""
        return replace(self, env={**self.env, "APP_FD": str(door)}, door=door)


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of one service, all on the loopback address."""

    app: int
    http: int
    grpc: int
    internal: int


def replica_name(app_id: str, number: int) -> str:
    """Name a replica among processes: the first has its service's own name."""
    return f"{app_id}-{number}" if number else app_id


def app_command(
    home: Home, template: Template, app: App, ports: Ports, traces: str = "", *, replica: int = 0
) -> Command:
    """Return how to run the app; it reads its ports from the environment, as under `dapr run`.

    `traces` is where it reports spans; empty for nowhere.
    """
    folder = resolve(home.template.parent, app.app_dir_path)
    given = {
        "APP_ID": app.app_id,
        "APP_PORT": str(ports.app),
        "APP_PROTOCOL": template.setting(app, "app_protocol") or "http",
        "DAPR_HTTP_PORT": str(ports.http),
        "DAPR_GRPC_PORT": str(ports.grpc),
        "OUTRIGGER_INSTANCE": f"{app.app_id}-{replica}",  # a restarted process of this name resumes its lane at once
        "PYTHONUNBUFFERED": "1",
    }
    program = app.command[0]
    executable = resolve(folder, program) if os.sep in program else Path(program)
    env = {**_inherited(), **given, **template.env(app), TRACES: traces}
    name = f"{replica_name(app.app_id, replica)}.app"
    return Command(name, executable, tuple(app.command), folder, env, home.logs / f"{name}.log")


def sidecar_command(
    home: Home, template: Template, app: App, ports: Ports, daprd: Path, *, replica: int = 0
) -> Command:
    """Return how to run the sidecar of an app."""
    folder = resolve(home.template.parent, app.app_dir_path)
    argv = ("daprd", *_pairs(home, template, app, ports, folder), *_switches(template, app))
    # What the sidecar tells the others as its address; else it picks one that the host shows to the network.
    env = {**GO, "GOMAXPROCS": _share(template), **_inherited(), "DAPR_HOST_IP": LOOPBACK}
    name = f"{replica_name(app.app_id, replica)}.daprd"
    return Command(name, daprd, argv, folder, env, home.logs / f"{name}.log")


def _share(template: Template) -> str:
    """Return how many cores a sidecar may use at once: its part of them.

    Threads that only wake and interrupt each other cost 9 % of the CPU an order (six sidecars on two cores).
    """
    return str(max(1, (os.cpu_count() or 1) // len(template.apps)))


def _pairs(home: Home, template: Template, app: App, ports: Ports, folder: Path) -> list[str]:
    """Return the flags with a value. Paths are relative, so that none holds a space, wherever the checkout lies."""
    config = template.setting(app, "config_file_path")
    flags: dict[str, object] = {
        "app-id": app.app_id,
        "dapr-http-port": ports.http,
        "dapr-grpc-port": ports.grpc,
        "dapr-internal-grpc-port": ports.internal,  # the default derives from the app id
        "dapr-internal-grpc-listen-address": LOOPBACK,
        "dapr-listen-addresses": LOOPBACK,
        "app-port": ports.app,
        "app-protocol": template.setting(app, "app_protocol") or "http",
        "resources-path": os.path.relpath(home.resources, folder),
        "config": config and os.path.relpath(home.configs / Path(config).name, folder),
        "log-level": template.setting(app, "log_level"),
        "app-max-concurrency": template.setting(app, "app_max_concurrency"),
        # Told to stop, it ends its subscriptions and keeps its APIs for the app that drains; told again, it ends.
        "dapr-block-shutdown-duration": f"{DRAIN}s",
        # It then closes its store, and calls hang in it until this is over; default are five seconds, 0 is for ever.
        "dapr-graceful-shutdown-seconds": 1,
        "app-health-check-path": template.setting(app, "app_health_check_path"),
        "app-health-probe-interval": template.setting(app, "app_health_probe_interval"),
        "app-health-probe-timeout": template.setting(app, "app_health_probe_timeout"),
        "app-health-threshold": template.setting(app, "app_health_threshold"),
    }
    return [part for flag, value in flags.items() if value for part in (f"--{flag}", str(value))]


def _switches(template: Template, app: App) -> list[str]:
    """Return the flags without a value of their own. No placement or scheduler: there are no actors here."""
    health = ["--enable-app-health-check"] if template.setting(app, "enable_app_health_check") else []
    return [*health, "--enable-metrics=false"]  # 1.14 listens for them on every address, whatever it is told


def _inherited() -> dict[str, str]:
    """Return our environment without what would steer a sidecar or an app behind the template's back."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("DAPR_", "APP_"))}
