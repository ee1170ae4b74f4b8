"""The table, read strictly: a misspelt name would be a permission that is silently not there, or one too many."""

from collections.abc import Iterator
from typing import Annotated, NamedTuple, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from support.installation import REPOSITORY

PATH = REPOSITORY / "dapr" / "identity.yaml"
Operation = Annotated[str, Field(pattern=r"^(GET|POST|PUT|DELETE) /[a-z][a-z-]*$")]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z-]*$")]


class Call(NamedTuple):
    """One app asks another."""

    caller: str
    target: str
    verb: str
    path: str

    @property
    def operation(self) -> str:
        """Return verb and path, as in the table."""
        return f"{self.verb} {self.path}"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Topic(_Strict):
    """Who publishes, and who hears it."""

    publish: list[Name]
    subscribe: list[Name]


class Table(_Strict):
    """The whole file."""

    trust_domain: str = Field(alias="trustDomain")
    namespace: Name
    targets: dict[Name, dict[Operation, list[Name]]] = Field(alias="calls")
    topics: dict[Name, Topic]
    components: dict[Name, list[Name]]
    secrets: dict[Name, list[Name]]

    @model_validator(mode="after")
    def _of_known_apps(self) -> Self:
        named = [
            *(call.caller for call in self.calls()), *(app for apps in self.components.values() for app in apps),
            *(app for topic in self.topics.values() for app in (*topic.publish, *topic.subscribe)),
        ]  # fmt: skip
        if unknown := sorted(set(named) - set(self.targets)):
            raise ValueError(f"{', '.join(unknown)}: no such app under `calls`")
        if any(self.secrets.values()):
            raise ValueError("an app may read a secret: no code here renders that, since none needs to")
        return self

    @property
    def apps(self) -> list[str]:
        """Name all apps."""
        return list(self.targets)

    def calls(self) -> Iterator[Call]:
        """List every call that is allowed."""
        for target, operations in self.targets.items():
            for operation, callers in operations.items():
                verb, path = operation.split(" ")
                yield from (Call(caller, target, verb, path) for caller in callers)

    def published(self, app: str) -> list[str]:
        """Name the topics on which an app may publish."""
        return [name for name, topic in self.topics.items() if app in topic.publish]

    def heard(self, app: str) -> list[str]:
        """Name the topics to which an app may subscribe."""
        return [name for name, topic in self.topics.items() if app in topic.subscribe]

    def used(self, app: str) -> list[str]:
        """Name the components that an app's sidecar opens."""
        return [name for name, apps in self.components.items() if app in apps]


def read() -> Table:
    """Read the table; raises `pydantic.ValidationError`."""
    return Table.model_validate(yaml.safe_load(PATH.read_text()))
