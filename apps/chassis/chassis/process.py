"""What an operator sets (the environment) and sees (JSON log lines with the W3C trace id) of one process."""

import gc
import json
import logging
import socket
import sys
from datetime import UTC, datetime

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from chassis import keys
from chassis.operations.tracing import traceparent

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class Settings(BaseSettings):
    """Names are the environment's (any case). Times are in seconds."""

    model_config = SettingsConfigDict(extra="ignore", populate_by_name=True)

    app_id: str = ""
    app_host: str = "127.0.0.1"
    app_port: int = 8000
    app_fd: int | None = None  # a socket that listens already: who connects while this process is away waits in it
    dapr_http_port: int = 3500
    dapr_http_endpoint: str = ""
    dapr_api_token: str | None = None
    app_api_token: str | None = None
    instance: str = Field(default_factory=socket.gethostname, validation_alias="OUTRIGGER_INSTANCE")
    log_level: str = "INFO"
    store: str = "store"
    pubsub: str = "pubsub"
    lease: float = Field(default=10.0, gt=0)  # an owner that shows no life this long loses its lane
    answer_within: float = Field(default=10.0, gt=0)  # then a command is answered 503 or 504
    request_bytes: int = Field(default=keys.REQUEST_BYTES, gt=0)
    queue_items: int = Field(default=4096, gt=0)
    bulk_wait_ms: int = Field(default=10, ge=1)  # how long daprd gathers events before it delivers them together
    backlog_records: int = Field(default=50_000, gt=0)  # unpublished records at which commands are refused
    drain_within: float = Field(default=20.0, gt=0)
    traces_per_second: int = Field(default=10, ge=0)  # kept of those that begin here; 0 for none
    trace_share: float = Field(default=1.0, ge=0, le=1)  # of which that many are chosen
    spans: str = Field(default="", validation_alias="OTEL_EXPORTER_ZIPKIN_ENDPOINT")  # where they go; empty for nowhere
    walk_every: float = Field(default=2.0, gt=0)  # how often others' journals are looked through for what was lost
    walk_patience: float = Field(default=4.0, gt=0)  # how long the broker may take
    marks_kept: float = Field(default=3600.0, gt=0)  # of events, once the walk has passed them; see sweeper.py
    careful_for: float = Field(default=300.0, ge=0)  # after an unclean end, see executor.py

    @property
    def sidecar_url(self) -> str:
        """Where this app's sidecar answers."""
        return self.dapr_http_endpoint or f"http://127.0.0.1:{self.dapr_http_port}"


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, trace, and whatever was passed as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        """Render a record."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if trace := traceparent()[3:35]:
            line["trace"] = trace
        line |= {k: v for k, v in vars(record).items() if k not in _STANDARD}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure_logging(level: str) -> None:
    """Send every logger to standard output as JSON lines."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def calm_collector() -> None:
    """Let the garbage collector look less often, and never again at what is loaded already.

    A service makes many short-lived objects and hardly a cycle; with Python's own figures a tenth of its time goes
    into looking through the events that followers still need.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 50)
