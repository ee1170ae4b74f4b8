"""One sidecar, one app that answers deliveries as it is told, one broker: the components as they are in components/."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from http.client import HTTPException
from pathlib import Path
from uuid import uuid4

from brokers.consumer import TOPIC, Consumer
from chassis_testing.sidecars import LOOPBACK, require_daprd
from outrigger.choice import Broker, Choice
from outrigger.commands import Command
from outrigger.credentials import make_credentials, passwords
from outrigger.home import Home
from outrigger.parts import BANK
from outrigger.plan import folders_of
from outrigger.ports import free_ports
from outrigger.resources import Addresses, render, resource_kinds
from outrigger.servers import parts_for, provide
from outrigger.template import read_template
from servers import Server
from servers.brokers import MAKERS, in_container
from servers.container import Contained
from servers.dapr import DaprContainer
from servers.engine import contained, image
from servers.process import PartProcess, Process
from support.installation import ask, install
from support.polling import eventually
from support.unscoped import unscope

NAME = "notifications"  # a service of ours: to others resiliency.yaml does not apply
PUBLISH = f"/v1.0-alpha1/publish/bulk/pubsub/{TOPIC}"
AT_ONCE = 200  # as the relay publishes
JSON = {"content-type": "application/json"}


class Side:
    """A broker's parts, a sidecar and its app."""

    def __init__(self, root: Path, broker: Broker) -> None:
        self.home = install(root)
        unscope(self.home.root / "components")
        http, grpc, internal, app, *self._free = free_ports(12)
        self.url = f"http://{LOOPBACK}:{http}"
        self.consumer = Consumer(app)
        self.servers = self._servers(broker)
        self.sidecar = _sidecar(self.home, _flags(self.home, http, grpc, internal, app))

    @property
    def server(self) -> Server:
        """The broker itself; what comes before it only helps it."""
        return self.servers[-1]

    def start(self) -> None:
        """Start everything; returns when a message gets through."""
        self.consumer.start()
        for server in self.servers:
            server.start()
        self.sidecar.start()
        self.gets_through(within=60)

    def stop(self) -> None:
        """End everything."""
        self.consumer.stop()
        for server in (self.sidecar, *reversed(self.servers)):
            server.close()

    def publish(self, names: list[str], *, size: int = 1) -> set[str]:
        """Publish messages in bulk; returns those that were not taken."""
        failed: set[str] = set()
        for start in range(0, len(names), AT_ONCE):
            failed |= self._publish(names[start : start + AT_ONCE], size)
        return failed

    def surely(self, names: list[str], *, within: float = 60) -> None:
        """Publish messages, those that were not taken again, until all are."""
        left = list(names)

        def taken() -> bool:
            left[:] = sorted(self.publish(left))
            return not left

        eventually(taken, within=within, what="the broker takes messages", pause=0.3)

    def gets_through(self, *, within: float) -> None:
        """Wait until a message that is published arrives."""
        tried: list[str] = []

        def arrived() -> bool:
            if any(self.consumer.times(name) for name in tried):
                return True
            tried.extend(fresh(1))
            self.publish(tried[-1:])
            return False

        eventually(arrived, within=within, what="a message gets through", pause=0.3)

    def _publish(self, names: list[str], size: int) -> set[str]:
        entries = [
            {"entryId": name, "contentType": "application/json", "metadata": {"partitionKey": name},
             "event": {"eventId": name, "payload": "x" * size}}
            for name in names
        ]  # fmt: skip
        try:
            heard = ask(self.url, "POST", PUBLISH, json.dumps(entries), JSON)
        except (OSError, HTTPException):
            return set(names)
        if heard.status in {200, 204} and not heard.content:
            return set()
        failed = heard.json.get("failedEntries")
        return {entry["entryId"] for entry in failed} if failed else set(names)

    def _servers(self, broker: Broker) -> Sequence[Server]:
        """Make the broker and what it needs, and write components that name it."""
        folders = folders_of(self.home, read_template(self.home.template), Choice(broker))
        kinds = resource_kinds(folders) - {BANK}
        make_credentials(self.home.credentials, [NAME])
        servers, addresses = self._contained(kinds) if contained() else self._native(kinds)
        render(folders, self.home.resources, addresses)
        for folder in (self.home.data, self.home.mail):
            folder.mkdir(parents=True)
        return servers

    def _native(self, kinds: set[str]) -> tuple[Sequence[Server], Addresses]:
        provide(kinds)
        parts = parts_for(kinds, self.home, self._free.pop, [NAME])
        return [PartProcess(part) for part in parts], {
            key: value for part in parts for key, value in part.addresses.items()
        }

    def _contained(self, kinds: set[str]) -> tuple[Sequence[Server], Addresses]:
        (kind,) = kinds & set(MAKERS)
        server, addresses = in_container(kind, self.home, self._free.pop(), passwords(self.home.credentials, [NAME]))
        return [server], addresses


@contextmanager
def side_on(root: Path, broker: Broker) -> Iterator[Side]:
    """Run a side; no process is left."""
    side = Side(root, broker)
    with ExitStack() as stack:
        stack.callback(side.stop)
        side.start()
        yield side


def fresh(count: int) -> list[str]:
    """Return names that nobody has used."""
    return [uuid4().hex for _ in range(count)]


def _flags(home: Home, http: int, grpc: int, internal: int, app: int) -> tuple[str, ...]:
    pairs = {
        "app-id": NAME, "dapr-http-port": http, "dapr-grpc-port": grpc, "dapr-internal-grpc-port": internal,
        "dapr-listen-addresses": LOOPBACK, "dapr-internal-grpc-listen-address": LOOPBACK, "app-port": app,
        "resources-path": home.resources, "log-level": "info",
    }  # fmt: skip
    return (*(word for flag, value in pairs.items() for word in (f"--{flag}", str(value))), "--enable-metrics=false")


def _sidecar(home: Home, flags: tuple[str, ...]) -> Server:
    folder, log = home.root / "apps" / "orders", home.logs / "daprd.log"
    if contained():
        return Contained(DaprContainer(image("daprd"), flags, root=home.root, folder=folder), log)
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("DAPR_")}
    env = {**inherited, "DAPR_HOST_IP": LOOPBACK}
    return Process(Command("daprd", require_daprd(), ("daprd", *flags), folder, env, log))
