"""The run template `dapr/dapr.yaml`, read strictly.

The Dapr CLI ignores keys that it does not know, so a misspelt setting is a setting that is silently not there. Here
every key must be known. Known are those that this launcher honours; the CLI has some more, which it does not.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from outrigger.errors import LauncherError

EDGE = "gateway"  # the one app whose port the outside world knows

Port = Annotated[int, Field(ge=1, le=65535)]


def _camel(name: str) -> str:
    """Spell a field as the CLI does: `dapr_http_port` is `daprHTTPPort`."""
    first, *rest = name.split("_")
    initials = {"id": "ID", "http": "HTTP", "grpc": "GRPC"}
    return first + "".join(initials.get(word, word.capitalize()) for word in rest)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", alias_generator=_camel, frozen=True)


class Shared(_Strict):
    """What `common` may say for all apps and an app for itself."""

    config_file_path: str | None = None
    app_protocol: str | None = None
    log_level: str | None = None
    app_max_concurrency: int | None = None
    enable_app_health_check: bool | None = None
    app_health_check_path: str | None = None
    app_health_probe_interval: int | None = None  # s
    app_health_probe_timeout: int | None = None  # ms
    app_health_threshold: int | None = None
    env: dict[str, str] = Field(default_factory=dict)


class Common(Shared):
    """What holds for every app."""

    resources_paths: list[str] = Field(min_length=1)


class App(Shared):
    """One app with its sidecar."""

    app_id: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    app_dir_path: str
    app_port: Port
    dapr_http_port: Port
    dapr_grpc_port: Port
    metrics_port: Port | None = None
    dapr_internal_grpc_port: Port = Field(alias="daprInternalGRPCPort")
    command: list[str] = Field(min_length=1)


class Template(_Strict):
    """The whole file."""

    version: int
    name: str
    common: Common
    apps: list[App] = Field(min_length=1)

    def setting(self, app: App, name: str) -> Any:
        """Return an app's own value, else the common one. As in the CLI, false and 0 count as no value."""
        return getattr(app, name) or getattr(self.common, name)

    def env(self, app: App) -> dict[str, str]:
        """Return an app's environment: its own entries win."""
        return {**self.common.env, **app.env}


def read_template(path: Path) -> Template:
    """Read a run template; a fault in it is named with its place in the file."""
    try:
        document = yaml.safe_load(path.read_text())
        return Template.model_validate(document)
    except OSError as error:
        raise LauncherError(f"{path} cannot be read ({error.strerror}).") from None
    except yaml.YAMLError as error:
        raise LauncherError(f"{path} is not YAML: {error}") from None
    except ValidationError as error:
        raise LauncherError(f"{path} does not hold: {_faults(error)}.") from None


def resolve(base: Path, path: str) -> Path:
    """Resolve a path of the template against the folder that it is relative to; `~` is expanded."""
    return Path(os.path.normpath(base / Path(path).expanduser()))


def _faults(error: ValidationError) -> str:
    return "; ".join(_fault(dict(one)) for one in error.errors())


def _fault(one: Mapping[str, Any]) -> str:
    place = ".".join(str(part) for part in one["loc"])
    if one["type"] == "extra_forbidden":
        return f"{place} is no key that is known here (misspelt, or in the wrong place?)"
    return f"{place}: {one['msg']}"
