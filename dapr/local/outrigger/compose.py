"""What `docker-compose.yml` reads beside the project's own files: `.outrigger/compose`, made by `outrigger compose`.

Resources are those of `components/`, with the addresses of compose's network. Passwords and tokens are made once. The
folder is its owner's alone; the files in it may be read by all, for the users of the containers have other numbers
than whoever made them, and a container sees only what is mounted into it.
"""

import json
import secrets
from collections.abc import Iterable
from pathlib import Path

from outrigger import kafka
from outrigger.choice import Broker, Choice, Store
from outrigger.commands import TRACES as SPANS
from outrigger.credentials import make_credentials, passwords
from outrigger.home import Home
from outrigger.parts import BANK
from outrigger.plan import configs_of, folders_of, services_of
from outrigger.postgresql import role
from outrigger.rabbitmq import DECLARED, defined
from outrigger.resources import TRACES, render, render_config
from outrigger.secretfile import make_secrets
from outrigger.template import EDGE, read_template

TRACES_URL = "http://zipkin:9411/api/v2/spans"
ADDRESSES = {
    ("pubsub.redis", "redisHost"): "redis:6379",
    ("pubsub.rabbitmq", "hostname"): "rabbitmq:5672",
    ("pubsub.kafka", "brokers"): "kafka:9092",
    (BANK, "baseUrl"): "http://bank:8080",
    TRACES: TRACES_URL,
}
POSTGRESQL = "host=postgresql port=5432 user={service} password={password} dbname={service}"
OTHERS = 0o644
_BYTES = 32


def prepare(home: Home) -> Path:
    """Write everything; keys that are there stay. Returns the folder."""
    folder = home.work / "compose"
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    services = services_of(read_template(home.template))
    _resources(home, folder)
    make_secrets(folder / "secrets.json")
    make_credentials(folder / "credentials", services, {"postgresql": POSTGRESQL})
    known = passwords(folder / "credentials", services)
    _tokens(folder / "tokens", services)
    _postgresql(folder, known)
    _once(folder / "rabbitmq.json", json.dumps(defined(home.root / DECLARED, known)))
    properties = kafka.properties(known, Path("/var/lib/kafka/data/log"), (9092, 9093), listen="", told="kafka")
    (folder / "kafka.properties").write_text(properties)
    _let_containers_read(folder)
    return folder


def _resources(home: Home, folder: Path) -> None:
    template = read_template(home.template)
    for broker in Broker:
        choice = Choice(broker, Store.POSTGRESQL)
        render(folders_of(home, template, choice), folder / "resources" / broker, ADDRESSES)
    for config in configs_of(home, template):
        render_config(config, folder / "config", ADDRESSES)
    settings = {**template.common.env, SPANS: TRACES_URL}
    (folder / "common.env").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))


def _tokens(folder: Path, services: Iterable[str]) -> None:
    """Make the two tokens of each service, by which app and sidecar know each other; the proxy has the edge's."""
    folder.mkdir(exist_ok=True)
    for service in services:
        tokens = {name: secrets.token_urlsafe(_BYTES) for name in ("APP_API_TOKEN", "DAPR_API_TOKEN")}
        _once(folder / f"{service}.env", "".join(f"{name}={value}\n" for name, value in tokens.items()))
    words = (folder / f"{EDGE}.env").read_text().splitlines()
    (folder / "proxy.env").write_text(next(line for line in words if line.startswith("APP_API_TOKEN")) + "\n")


def _postgresql(folder: Path, known: dict[str, str]) -> None:
    """Write what a new server runs: a role and a database for each service, as the launcher has them."""
    _once(folder / "postgresql.password", secrets.token_urlsafe(_BYTES))
    lines = (line.strip() + ";\n" for name, password in known.items() for line in role(name, password))
    (folder / "postgresql.sql").write_text("".join(lines))


def _once(path: Path, text: str) -> None:
    if not path.exists():
        path.touch(0o600)
        path.write_text(text)


def _let_containers_read(folder: Path) -> None:
    """Open the files for reading; two folders are for containers to write into, who own what they wrote."""
    written = [folder / "mail", folder / "logs"]
    for path in written:
        path.mkdir(exist_ok=True)
    for path in folder.rglob("*"):
        if not set(written) & set(path.parents):
            path.chmod(0o755 if path.is_dir() else OTHERS)
    for path in written:
        path.chmod(0o777)
