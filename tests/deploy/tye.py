"""Tye's configuration as its parser takes it: a key that it does not know is refused, as Tye itself does.

After the parser's own classes and the schema of its last version; values that the parser takes as text are text here.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Port = Annotated[int, Field(ge=1, le=65535)]
Name = Annotated[str, Field(pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
KINDS = ("executable", "image", "external", "project", "docker_file", "include", "repository", "azure_function")


class Strict(BaseModel):
    """Nothing unknown, nothing converted."""

    model_config = ConfigDict(
        extra="forbid", strict=True, alias_generator=lambda name: CAMEL.get(name, name), frozen=True
    )


CAMEL = {
    "working_directory": "workingDirectory", "container_port": "containerPort", "connection_string": "connectionString",
    "docker_file": "dockerFile", "azure_function": "azureFunction", "container_engine": "containerEngine",
    "dashboard_port": "dashboardPort", "log_level": "log-level", "components_path": "components-path",
    "placement_port": "placement-port", "app_max_concurrency": "app-max-concurrency", "app_protocol": "app-protocol",
    "app_ssl": "app-ssl", "enable_profiling": "enable-profiling", "http_max_request_size": "http-max-request-size",
    "app_id": "app-id", "grpc_port": "grpc-port", "http_port": "http-port", "metrics_port": "metrics-port",
    "profile_port": "profile-port",
}  # fmt: skip


class Binding(Strict):
    """Where a service is reached."""

    name: str | None = None
    port: Port | None = None
    container_port: Port | None = None
    host: str | None = None
    protocol: str | None = None
    connection_string: str | None = None


class Variable(Strict):
    """One of a list, not of a map."""

    name: str
    value: str


class Service(Strict):
    """What runs, of exactly one kind."""

    name: Name
    executable: str | None = None
    image: str | None = None
    external: Literal[True] | None = None
    project: str | None = None
    docker_file: str | None = None
    include: str | None = None
    repository: str | None = None
    azure_function: str | None = None
    args: str | None = None
    working_directory: str | None = None
    replicas: Annotated[int, Field(ge=0)] | None = None
    bindings: list[Binding] = []
    env: list[Variable] = []
    tags: list[str] = []

    @model_validator(mode="after")
    def one_kind(self) -> Self:
        """Refuse none and two: Tye guesses."""
        kinds = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(kinds) != 1:
            raise ValueError(f"{self.name} is of {len(kinds)} kinds: {kinds}")
        if self.external and (self.env or self.args):
            raise ValueError(f"{self.name} is external: it has bindings only")
        return self

    @property
    def by_http(self) -> bool:
        """Tell whether Tye gives it a sidecar unless told otherwise: it has a binding of http, or of no protocol."""
        return any(binding.protocol in {"http", None} for binding in self.bindings)


class Shared(Strict):
    """What the Dapr extension takes for all and for one."""

    app_max_concurrency: int | None = None
    app_protocol: str | None = None
    app_ssl: bool | None = None
    components_path: str | None = None
    config: Annotated[str, Field(pattern=r"^[^/]*$")] | None = None  # a name, looked up in the components' folder
    enable_profiling: bool | None = None
    http_max_request_size: int | None = None
    log_level: str | None = None
    placement_port: Port | None = None


class Sidecar(Shared):
    """One service's."""

    app_id: str | None = None
    enabled: bool | None = None
    grpc_port: Port | None = None
    http_port: Port | None = None
    metrics_port: Port | None = None
    profile_port: Port | None = None


class Dapr(Shared):
    """The extension."""

    name: Literal["dapr"]
    services: dict[str, Sidecar] = {}


class Tye(Strict):
    """The whole file."""

    name: Name
    registry: str | None = None
    namespace: str | None = None
    network: str | None = None
    dashboard_port: Port | None = None
    container_engine: Literal["docker", "podman"] | None = None
    extensions: list[Dapr] = []
    services: Annotated[list[Service], Field(min_length=1)]
