"""Which broker and which store a run uses: what the template says, unless the command line names others.

The template names folders such as `../components/broker/redis`; another choice is the folder beside it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Broker(StrEnum):
    """The folders in `components/broker`."""

    REDIS = "redis"
    RABBITMQ = "rabbitmq"
    KAFKA = "kafka"


class Store(StrEnum):
    """The folders in `components/store`."""

    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"


@dataclass(frozen=True, slots=True)
class Choice:
    """What the command line says; None is what the template says."""

    broker: Broker | None = None
    store: Store | None = None

    def applied(self, folders: Iterable[Path]) -> list[Path]:
        """Return the folders of resources with the chosen ones in the places of the template's."""
        wanted = {"broker": self.broker, "store": self.store}
        return [folder.with_name(str(wanted.get(folder.parent.name) or folder.name)) for folder in folders]
