"""Which parts a run needs. It is not configured here: it follows from the resources that the template names."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from outrigger.home import Home
from outrigger.java import find_java
from outrigger.kafka import FETCHED_WHEN_USED, fetch, jars, kafka
from outrigger.parts import BANK, Part, bank, valkey, valkey_server
from outrigger.postgresql import find_postgresql, not_root, postgresql
from outrigger.rabbitmq import find_epmd, find_rabbitmq, rabbitmq

REDIS, RABBITMQ, KAFKA, POSTGRESQL = "pubsub.redis", "pubsub.rabbitmq", "pubsub.kafka", "state.postgresql"

BROKERS = {REDIS, RABBITMQ, KAFKA}
BUNDLED = {REDIS, RABBITMQ}  # their components cannot deliver several messages at once: daprd bundles them


def parts_for(kinds: set[str], home: Home, port: Callable[[], int], services: Sequence[str]) -> list[Part]:
    """Return the parts that resources of these kinds need; `port` gives a free port at each call."""
    known: dict[str, Callable[[], list[Part]]] = {
        REDIS: lambda: [valkey(home, port())],
        RABBITMQ: lambda: rabbitmq(home, (port(), port(), port()), services),
        KAFKA: lambda: [kafka(home, (port(), port()), services)],
        POSTGRESQL: lambda: [postgresql(home, port(), services)],
        BANK: lambda: [bank(home, port())],
    }
    return [replace(part, kind=kind) for kind, make in known.items() if kind in kinds for part in make()]


def provide(kinds: set[str]) -> None:
    """Fetch what these kinds need and a machine can be given; raises `LauncherError` for what somebody must install."""
    if KAFKA in kinds:
        fetch()
    for kind, look in LOOKS.items():
        if kind in kinds:
            look()


def _rabbitmq() -> str:
    return f"{find_rabbitmq()}, {find_epmd()}"


def _kafka() -> str:
    return f"{jars() or FETCHED_WHEN_USED}, {find_java()}"


def _postgresql() -> str:
    not_root()
    return str(find_postgresql().server)


NAMES = {REDIS: "Valkey", RABBITMQ: "RabbitMQ", KAFKA: "Kafka", POSTGRESQL: "PostgreSQL"}
LOOKS: dict[str, Callable[[], str]] = {
    REDIS: lambda: str(valkey_server()),
    RABBITMQ: _rabbitmq,
    KAFKA: _kafka,
    POSTGRESQL: _postgresql,
}
"""How each is found, without starting or fetching anything; raises `LauncherError`, saying what to do."""
