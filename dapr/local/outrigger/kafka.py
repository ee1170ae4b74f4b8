"""Kafka as a part: its jars, fetched once a machine, one node that is broker and controller (KRaft), a small heap.

Every service is a user of its own (SASL/PLAIN: password and all stay on the loopback address).
"""

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path

from outrigger import maven
from outrigger.commands import Command
from outrigger.credentials import passwords
from outrigger.errors import LauncherError
from outrigger.filelock import locked
from outrigger.home import Home, cache_folder
from outrigger.java import find_java
from outrigger.maven import Jar, Unfetched
from outrigger.parts import Part, spoken
from outrigger.ports import LOOPBACK
from outrigger.progress import Progress

VERSION = "4.4.0"
PARTITIONS = 3  # of every topic; each is delivered in bulks of its own, so more make smaller ones and dearer orders
FETCHED_WHEN_USED = "fetched when it is first used (once; 43 MB)"
TITLE = f"Fetching Kafka {VERSION} (once; 43 MB)"
FLAGS = (
    *("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:+ExitOnOutOfMemoryError"),
    *("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true"),
)
_API_VERSIONS = bytes.fromhex("0000000a 0012 0000 00000001 ffff")  # the first question of every client
_PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule required"


def jars() -> Path | None:
    """Return the folder of the cache. What stands there was checked."""
    folder = _place()
    return folder if folder.is_dir() else None


def fetch() -> Path:
    """Return the folder of jars, fetched where the cache has none. Raises `LauncherError` if they cannot be had."""
    if there := jars():
        return there
    with Progress(TITLE) as progress, locked(_place().with_suffix(".lock"), progress.waiting):
        return jars() or _fetch(progress)


def kafka(home: Home, ports: tuple[int, int], services: Sequence[str]) -> Part:
    """Return the broker; `ports` are the clients' and its own controller's."""
    folder = home.data / "kafka"
    settings = folder / "server.properties"
    argv = (*_java(), "kafka.Kafka", str(settings))
    command = Command("kafka", find_java(), argv, folder, dict(os.environ), home.logs / "kafka.log")
    return Part(
        command,
        partial(answers, ports[0]),
        {("pubsub.kafka", "brokers"): f"{LOOPBACK}:{ports[0]}"},
        prepare=partial(_prepare, home, settings, ports, services),
    )


def listed() -> list[Jar]:
    """Return the jars that make up Kafka."""
    lines = files("outrigger").joinpath("kafka_jars.txt").read_text().splitlines()
    found = (line.replace(":", " ").split() for line in lines if not line.startswith("#"))
    return [Jar(group, artifact, version, sha256) for group, artifact, version, sha256 in found]


def _place() -> Path:
    return cache_folder() / "kafka" / VERSION


def _fetch(progress: Progress) -> Path:
    place = _place()
    place.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="fetching-", dir=place.parent))
    try:
        maven.fetch(listed(), scratch, progress.tell)
        scratch.chmod(0o755)
        scratch.rename(place)
    except Unfetched as error:
        raise LauncherError(
            f"Kafka could not be fetched ({error}): it comes from Maven Central. Until then choose another broker."
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return place


def _java() -> tuple[str, ...]:
    return ("java", *FLAGS, "-cp", f"{_place()}{os.sep}*")


def _prepare(home: Home, settings: Path, ports: tuple[int, int], services: Sequence[str]) -> None:
    """Write its settings; a new folder becomes a cluster of its own."""
    log = settings.parent / "log"
    settings.touch(0o600)
    settings.write_text(properties(passwords(home.credentials, services), log, ports))
    if (log / "meta.properties").is_file():
        return
    command = [*_java(), "kafka.tools.StorageTool", "format", "--cluster-id", cluster_id(), "--config", str(settings)]
    done = subprocess.run(command, executable=find_java(), capture_output=True, text=True, timeout=120, check=False)
    if done.returncode != 0:
        raise LauncherError(f"Kafka's folder {log} could not be made:\n{(done.stdout + done.stderr)[-2000:]}")


def cluster_id() -> str:
    """Make up a cluster's name: 16 bytes as text. Kafka's tool would take one that begins with a dash for an option."""
    while (made := secrets.token_urlsafe(16)).startswith("-"):
        pass
    return made


def properties(
    known: Mapping[str, str], log: Path, ports: tuple[int, int], *, listen: str = LOOPBACK, told: str = LOOPBACK
) -> str:
    """Write the settings of a node that keeps its data in `log` and knows these users with their passwords.

    It listens on `listen`, and tells its clients that it is on the host `told`.
    """
    clients, controller = ports
    users = " ".join(f'user_{name}="{word}"' for name, word in known.items())
    settings = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@{LOOPBACK}:{controller}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"CLIENTS://{listen}:{clients},CONTROLLER://{LOOPBACK}:{controller}",
        "advertised.listeners": f"CLIENTS://{told}:{clients}",
        "inter.broker.listener.name": "CLIENTS",
        "listener.security.protocol.map": "CLIENTS:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
        "sasl.enabled.mechanisms": "PLAIN",
        "sasl.mechanism.inter.broker.protocol": "PLAIN",
        "listener.name.clients.plain.sasl.jaas.config": f"{_PLAIN} {users};",
        "log.dirs": log,
        "num.partitions": PARTITIONS,
        "group.initial.rebalance.delay.ms": 0,  # nobody else will come
        # There is one node, so one copy of everything.
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 1,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
    }
    return "\n".join(f"{key}={value}" for key, value in settings.items())


async def answers(port: int) -> bool:
    """Ask once whether a Kafka serves there."""
    return bool(await spoken(port, _API_VERSIONS))
