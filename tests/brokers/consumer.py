"""The app beside the sidecar: it remembers what it was handed, and answers as it is told."""

import json
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from chassis.process import Settings
from chassis.service import BULK
from chassis_testing.sidecars import LOOPBACK

TOPIC, GRAVE = "news", "news-dead"
SUCCESS, RETRY, DROP = "SUCCESS", "RETRY", "DROP"
GATHERED = {**BULK, "maxAwaitDurationMs": Settings().bulk_wait_ms}
SUBSCRIPTIONS = [
    {"pubsubname": "pubsub", "topic": TOPIC, "route": "/events", "bulkSubscribe": GATHERED, "deadLetterTopic": GRAVE},
    {"pubsubname": "pubsub", "topic": GRAVE, "route": "/events", "bulkSubscribe": GATHERED},
]


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
