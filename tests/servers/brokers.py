"""Each broker in a container, set as the launcher sets its own: the same users, queues, partitions and durability."""

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from textwrap import dedent
from typing import Self

from testcontainers.community.kafka import KafkaContainer
from testcontainers.community.rabbitmq import RabbitMqContainer
from testcontainers.community.redis import RedisContainer

from outrigger import kafka, parts, rabbitmq
from outrigger.home import Home
from outrigger.resources import Addresses
from outrigger.servers import KAFKA, RABBITMQ, REDIS
from servers.container import Contained, publish
from servers.engine import image

ANYWHERE = "0.0.0.0"  # noqa: S104 - inside; outside it is published on the loopback address


def in_container(kind: str, home: Home, port: int, known: Mapping[str, str]) -> tuple[Contained, Addresses]:
    """Make a broker of that kind, that is reached at `port` and knows these users; and what components must say."""
    make, value = MAKERS[kind]
    return make(home, port, known), {(kind, value): f"127.0.0.1:{port}"}


def _redis(home: Home, port: int, _known: Mapping[str, str]) -> Contained:
    container = RedisContainer(image("redis"))
    # It lets in those alone who come from inside, as long as it has no password.
    container.with_command(["redis-server", *parts.DURABLE, "--protected-mode", "no"])
    publish(container, container.port, at=port)
    return Contained(container, home.logs / "redis.log", partial(parts.pong, port))


def _rabbitmq(home: Home, port: int, known: Mapping[str, str]) -> Contained:
    name, password = next(iter(known.items()))
    container = RabbitMqContainer(image("rabbitmq"), username=name, password=password)
    definitions = json.dumps(rabbitmq.defined(home.root / rabbitmq.DECLARED, known))
    container.with_copy_into_container(definitions.encode(), "/etc/rabbitmq/definitions.json")
    settings = "load_definitions = /etc/rabbitmq/definitions.json\nlog.console.level = warning\n"
    container.with_copy_into_container(settings.encode(), "/etc/rabbitmq/rabbitmq.conf")
    publish(container, container.port, at=port)
    return Contained(container, home.logs / "rabbitmq.log", partial(rabbitmq.answers, port))


class SetKafka(KafkaContainer):
    """Kafka with the launcher's settings, where testcontainers expects Confluent's scripts.

    It needs `java` and Kafka's jars in /opt/kafka/libs, as Apache's image has them.
    """

    SETTINGS = "/tmp/server.properties"  # noqa: S108 - of the container

    def __init__(self, name: str, port: int, known: Mapping[str, str]) -> None:
        super().__init__(name, port=port, wait_strategy_check_string=".*Kafka Server started.*")
        log = Path("/tmp/kafka")  # noqa: S108
        settings = kafka.properties(known, log, (port, port + 1), listen=ANYWHERE)
        self.with_copy_into_container(settings.encode(), self.SETTINGS)
        self.env.clear()  # what Confluent's scripts would read

    def start(self, timeout: int = 90) -> Self:
        """Start it; a Java program on a busy machine takes its time."""
        return super().start(timeout)

    def configure(self) -> None:
        """Everything is in the settings."""

    def tc_start(self) -> None:
        """Bring the script that the container waits for; it is there when it is started again."""
        java = f"java {' '.join(kafka.FLAGS)} -Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info"
        script = f"""\
            {java} -cp '/opt/kafka/libs/*' kafka.tools.StorageTool format --ignore-formatted \\
              --cluster-id {self.cluster_id} --config {self.SETTINGS}
            exec {java} -cp '/opt/kafka/libs/*' kafka.Kafka {self.SETTINGS}
        """
        self.create_file(dedent(script).encode(), self.TC_START_SCRIPT)


def _kafka(home: Home, port: int, known: Mapping[str, str]) -> Contained:
    container = SetKafka(image("kafka"), port, known)
    publish(container, port, at=port)
    return Contained(container, home.logs / "kafka.log", partial(kafka.answers, port))


MAKERS: dict[str, tuple[Callable[[Home, int, Mapping[str, str]], Contained], str]] = {
    REDIS: (_redis, "redisHost"),
    RABBITMQ: (_rabbitmq, "hostname"),
    KAFKA: (_kafka, "brokers"),
}
"""How each is made, and which value of its component holds its address."""
