"""A run before it starts: which processes, on which ports, with which resources. Making a plan starts nothing."""

from dataclasses import dataclass, replace
from pathlib import Path

from outrigger.choice import Choice
from outrigger.commands import Command, Ports, app_command, replica_name, sidecar_command
from outrigger.credentials import make_credentials
from outrigger.errors import LauncherError
from outrigger.handover import hand_over
from outrigger.home import Home
from outrigger.parts import Part
from outrigger.ports import LOOPBACK, free_ports, require_free
from outrigger.resources import TRACES, render, render_config, resource_kinds
from outrigger.secretfile import make_secrets
from outrigger.servers import parts_for
from outrigger.template import EDGE, App, Template, read_template, resolve
from outrigger.zipkin import MISSING, zipkin

_PER_SERVICE = 4
_FOR_PARTS = 12  # more than there are

DEFAULT = Choice()


@dataclass(frozen=True, slots=True)
class ServicePlan:
    """One replica of an app, its sidecar and their ports."""

    app_id: str
    ports: Ports
    app: Command
    sidecar: Command
    replica: int = 0

    @property
    def name(self) -> str:
        """Its name among all processes."""
        return replica_name(self.app_id, self.replica)


@dataclass(frozen=True, slots=True)
class Plan:
    """All of a run, one replica a service. Without services, for those who start them with `dapr run`."""

    home: Home
    template: Template
    services: list[ServicePlan]
    parts: list[Part]
    resources: list[Path]  # the folders to render from
    missing: list[str]  # what this run does without, in words
    daprd: Path
    replicas: int = 1  # of each service but the edge, once all serve

    @property
    def edge(self) -> ServicePlan | None:
        """The service that the outside world calls; none where only parts run."""
        return next((service for service in self.services if service.app_id == EDGE), None)

    def chosen(self, what: str) -> str:
        """Name the `broker` or the `store` of this run."""
        return next((folder.name for folder in self.resources if folder.parent.name == what), "")

    @property
    def gateway_url(self) -> str:
        """Where the outside world calls; nowhere without services."""
        return f"http://{LOOPBACK}:{self.edge.ports.app}" if self.edge else ""

    def another(self, app_id: str, replica: int) -> ServicePlan:
        """Plan one more replica of a service, on ports that are free now."""
        app = next(each for each in self.template.apps if each.app_id == app_id)
        ports = Ports(*free_ports(_PER_SERVICE))
        traces = next((part.addresses[TRACES] for part in self.parts if TRACES in part.addresses), "")
        return _service(self.home, self.template, app, self.daprd, ports, traces=traces, replica=replica)

    def write_resources(self) -> None:
        """Render the components with the addresses of this run, and make the folders that they name."""
        addresses = {key: value for part in self.parts for key, value in part.addresses.items()}
        render(self.resources, self.home.resources, addresses)
        for config in configs_of(self.home, self.template):
            render_config(config, self.home.configs, addresses)
        for folder in (self.home.data, self.home.mail):
            folder.mkdir(parents=True, exist_ok=True)
        make_secrets(self.home.secrets)
        patterns = {key: text for part in self.parts for key, text in part.credentials.items()}
        make_credentials(self.home.credentials, services_of(self.template), patterns)
        for part in self.parts:
            part.command.folder.mkdir(parents=True, exist_ok=True)
        if not self.services:
            hand_over(self.home, addresses.get(TRACES, ""))


def make_plan(
    home: Home, daprd: Path, gateway_port: int | None = None, choice: Choice = DEFAULT, *, parts_only: bool = False,
    replicas: int = 1,
) -> Plan:  # fmt: skip
    """Plan a run of the template; all ports but the gateway's are chosen among the free ones."""
    template = read_template(home.template)
    edge_port = gateway_port or _edge(template, home).app_port
    if not parts_only:
        require_free(edge_port)
    ports = free_ports(_PER_SERVICE * len(template.apps) + _FOR_PARTS, avoid=frozenset({edge_port}))
    folders = folders_of(home, template, choice)
    parts = parts_for(resource_kinds(folders), home, ports.pop, services_of(template))
    tracing = zipkin(home, ports.pop())
    traces = tracing.addresses[TRACES] if tracing else ""
    apps = [] if parts_only else template.apps
    services = [_service(home, template, app, daprd, _ports(app, ports, edge_port), traces=traces) for app in apps]
    missing = [] if tracing else [MISSING]
    return Plan(home, template, services, [*parts, *([tracing] if tracing else [])], folders, missing, daprd, replicas)


def folders_of(home: Home, template: Template, choice: Choice) -> list[Path]:
    """Return the folders that the resources of a run come from."""
    return choice.applied(resolve(home.template.parent, folder) for folder in template.common.resources_paths)


def kinds_of(home: Home, choice: Choice) -> set[str]:
    """Return the kinds of resources of a run, which tell what it needs beside services and sidecars."""
    return resource_kinds(folders_of(home, read_template(home.template), choice))


def configs_of(home: Home, template: Template) -> set[Path]:
    """Return the files of the Configurations that the template names."""
    named = {template.setting(app, "config_file_path") for app in template.apps}
    return {resolve(home.template.parent, name) for name in named if name}


def services_of(template: Template) -> list[str]:
    """Return the names of the services."""
    return [app.app_id for app in template.apps]


def _ports(app: App, free: list[int], edge_port: int) -> Ports:
    own = Ports(*(free.pop() for _ in range(_PER_SERVICE)))
    return replace(own, app=edge_port) if app.app_id == EDGE else own


def _service(
    home: Home, template: Template, app: App, daprd: Path, ports: Ports, *, traces: str, replica: int = 0
) -> ServicePlan:  # fmt: skip
    folder = resolve(home.template.parent, app.app_dir_path)
    if not folder.is_dir():
        raise LauncherError(f"{home.template}: appDirPath of {app.app_id} is {folder}, which is no folder.")
    sidecar = sidecar_command(home, template, app, ports, daprd, replica=replica)
    command = app_command(home, template, app, ports, traces, replica=replica)
    return ServicePlan(app.app_id, ports, command, sidecar, replica)


def _edge(template: Template, home: Home) -> App:
    for app in template.apps:
        if app.app_id == EDGE:
            return app
    raise LauncherError(f"{home.template} has no app `{EDGE}`: that is the one the outside world calls.")
