"""One sidecar, one app that answers deliveries as it is told, one broker: the components as they are in components/."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

from chassis.service import BULK
from chassis_testing.sidecars import LOOPBACK, require_daprd
from outrigger.choice import Broker, Choice
from outrigger.commands import Command
from outrigger.credentials import make_credentials
from outrigger.home import Home
from outrigger.parts import BANK, Part, until_answering
from outrigger.plan import folders_of
from outrigger.ports import free_ports
from outrigger.resources import render, resource_kinds
from outrigger.servers import parts_for, provide
from outrigger.template import read_template
from support.installation import ask, install
from support.polling import eventually

NAME, TOPIC, GRAVE = "side", "news", "side-dead"
SUCCESS, RETRY, DROP = "SUCCESS", "RETRY", "DROP"
PUBLISH = f"/v1.0-alpha1/publish/bulk/pubsub/{TOPIC}"
AT_ONCE = 200  # as the relay publishes
JSON = {"content-type": "application/json"}


class Process:
    """A process that a test starts, kills and ends."""

    def __init__(self, command: Command) -> None:
        self.command = command
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it."""
        command = self.command
        command.log.parent.mkdir(parents=True, exist_ok=True)
        with command.log.open("ab") as log:
            self._process = subprocess.Popen(
                command.argv, executable=command.executable, cwd=command.folder, env=dict(command.env),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0,
            )  # fmt: skip

    def kill(self) -> None:
        """End it without warning."""
        self.signal(signal.SIGKILL)
        self.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process
        self._process.send_signal(number)

    def wait(self) -> None:
        """Wait until it is gone."""
        assert self._process
        self._process.wait(30)

    def end(self) -> None:
        """End it, as a run does."""
        if self._process and self._process.poll() is None:
            self.signal(self.command.farewell)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()


class Consumer:
    """The app: remembers what it was handed, by topic and id, and answers what `verdict` says."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.verdict: Callable[[str], str] = lambda _: SUCCESS
        self.heard: Counter[tuple[str, str]] = Counter()
        self.sizes: dict[str, int] = {}
        self.connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        """Listen."""
        consumer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1  # an answer in one piece

            def setup(self) -> None:
                super().setup()
                consumer.connections.add(self.connection)

            def do_GET(self) -> None:
                self._answer(SUBSCRIPTIONS if self.path == "/dapr/subscribe" else {})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                self._answer({"statuses": [consumer.take(body["topic"], entry) for entry in body["entries"]]})

            def _answer(self, value: Any) -> None:
                sent = json.dumps(value).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(sent)))
                self.end_headers()
                self.wfile.write(sent)

            def finish(self) -> None:
                with suppress(OSError):  # a sidecar that was killed waits for no answer
                    super().finish()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as the base names it
                """Say nothing."""

        self._server = ThreadingHTTPServer((LOOPBACK, self.port), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Be away: nobody listens, and connections break."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        while self.connections:
            with suppress(OSError):  # the sidecar may have closed it before
                self.connections.pop().shutdown(socket.SHUT_RDWR)

    def take(self, topic: str, entry: dict[str, Any]) -> dict[str, str]:
        """Note one message and judge it. A dead-lettered event still says that it is of its first topic."""
        event = entry["event"]["data"]
        name = event["eventId"]
        with self._lock:
            self.heard[topic, name] += 1
            self.sizes[name] = len(event["payload"])
        return {"entryId": entry["entryId"], "status": SUCCESS if topic == GRAVE else self.verdict(name)}

    def times(self, name: str, topic: str = TOPIC) -> int:
        """Say how often a message was handed over."""
        return self.heard[topic, name]

    def has(self, names: Iterable[str], topic: str = TOPIC) -> bool:
        """Tell whether all of these came."""
        return all(self.heard[topic, name] for name in names)


SUBSCRIPTIONS = [
    {"pubsubname": "pubsub", "topic": TOPIC, "route": "/events", "bulkSubscribe": BULK, "deadLetterTopic": GRAVE},
    {"pubsubname": "pubsub", "topic": GRAVE, "route": "/events", "bulkSubscribe": BULK},
]


class Side:
    """A broker's parts, a sidecar and its app."""

    def __init__(self, root: Path, broker: Broker) -> None:
        self.home = install(root)
        http, grpc, internal, app, *self._free = free_ports(12)
        self.url = f"http://{LOOPBACK}:{http}"
        self.consumer = Consumer(app)
        self.parts = self._parts(broker)
        self.servers = [Process(part.command) for part in self.parts]
        self.sidecar = Process(_sidecar(self.home, http, grpc, internal, app))

    @property
    def server(self) -> Process:
        """The broker itself; what comes before it only helps it."""
        return self.servers[-1]

    def start(self) -> None:
        """Start everything; returns when a message gets through."""
        self.consumer.start()
        for part, server in zip(self.parts, self.servers, strict=True):
            part.command.folder.mkdir(parents=True, exist_ok=True)
            part.prepare()
            server.start()
            asyncio.run(until_answering(part))
        self.sidecar.start()
        self.gets_through(within=60)

    def stop(self) -> None:
        """End everything."""
        self.consumer.stop()
        self.sidecar.end()
        for server in reversed(self.servers):
            server.end()

    def restart_server(self) -> None:
        """Start the broker again, and wait until it answers."""
        self.server.start()
        asyncio.run(until_answering(self.parts[-1]))

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

    def _parts(self, broker: Broker) -> list[Part]:
        folders = folders_of(self.home, read_template(self.home.template), Choice(broker))
        kinds = resource_kinds(folders) - {BANK}
        provide(kinds)
        parts = parts_for(kinds, self.home, self._free.pop, [NAME])
        addresses = {key: value for part in parts for key, value in part.addresses.items()}
        render(folders, self.home.resources, addresses)
        make_credentials(self.home.credentials, [NAME])
        for folder in (self.home.data, self.home.mail):
            folder.mkdir(parents=True)
        return parts


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


def _sidecar(home: Home, http: int, grpc: int, internal: int, app: int) -> Command:
    pairs = {
        "app-id": NAME, "dapr-http-port": http, "dapr-grpc-port": grpc, "dapr-internal-grpc-port": internal,
        "dapr-listen-addresses": LOOPBACK, "dapr-internal-grpc-listen-address": LOOPBACK, "app-port": app,
        "resources-path": home.resources, "log-level": "info",
    }  # fmt: skip
    flags = [word for flag, value in pairs.items() for word in (f"--{flag}", str(value))]
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("DAPR_")}
    argv = ("daprd", *flags, "--enable-metrics=false")
    env = {**inherited, "DAPR_HOST_IP": LOOPBACK}
    return Command("daprd", require_daprd(), argv, home.root / "apps" / "orders", env, home.logs / "daprd.log")
