"""RabbitMQ as a part: the system's own package, with folders, ports and users of ours.

Its scripts are used as they lie in the package: those on Debian's PATH insist on the system's own service. Erlang's
name server epmd is a part of its own, so that it is watched and ends with the run; by itself it would stay for ever.
"""

import base64
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from outrigger.commands import Command
from outrigger.credentials import passwords
from outrigger.errors import LauncherError
from outrigger.home import Home
from outrigger.parts import Part, spoken
from outrigger.ports import LOOPBACK

GET_IT = "install it (Debian, Ubuntu: `apt-get install rabbitmq-server`; macOS: `brew install rabbitmq`)"
DECLARED = Path("components/broker/rabbitmq/definitions.json")
_SCRIPT = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
_ERLANG = Path("/usr/lib/erlang/bin/epmd")
_HELLO = b"AMQP\x00\x00\x09\x01"
_ALIVE = b"\x00\x01n"  # epmd: tell the names


def rabbitmq(home: Home, ports: tuple[int, int, int], services: Sequence[str]) -> list[Part]:
    """Return epmd and the broker; `ports` are the broker's, its distribution's and epmd's."""
    port, distribution, names = ports
    folder = home.data / "rabbitmq"
    env = _environment(folder, distribution, names)
    argv = ("epmd", "-address", LOOPBACK, "-port", str(names))
    epmd = Command("epmd", find_epmd(), argv, folder, env, home.logs / "epmd.log")
    broker = replace(
        epmd, name="rabbitmq", executable=find_rabbitmq(), argv=("rabbitmq-server",), log=home.logs / "rabbitmq.log"
    )
    return [
        Part(epmd, partial(answers, names, _ALIVE)),
        Part(
            broker,
            partial(answers, port),
            {("pubsub.rabbitmq", "hostname"): f"{LOOPBACK}:{port}"},
            prepare=partial(_prepare, home, folder, port, services),
        ),
    ]


def find_rabbitmq() -> Path:
    """Return the script of the package."""
    found = _SCRIPT if _SCRIPT.exists() else shutil.which("rabbitmq-server")
    if found is None:
        raise LauncherError(f"There is no rabbitmq-server: {GET_IT}, or choose another broker.")
    return Path(found)


def find_epmd() -> Path:
    """Return Erlang's name server, which comes with RabbitMQ."""
    if found := shutil.which("epmd") or (_ERLANG if _ERLANG.exists() else None):
        return Path(found)
    raise LauncherError(f"There is no epmd, which comes with RabbitMQ: {GET_IT}, or choose another broker.")


def _environment(folder: Path, distribution: int, names: int) -> dict[str, str]:
    """Return what keeps a broker apart from the system's own and on the loopback address."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("RABBITMQ_", "ERL_"))}
    return inherited | {
        "HOME": str(folder),  # of Erlang's cookie
        "ERL_EPMD_ADDRESS": LOOPBACK,
        "ERL_EPMD_PORT": str(names),
        "ERL_AFLAGS": "-start_epmd false",
        "RABBITMQ_CONF_ENV_FILE": os.devnull,
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        "RABBITMQ_NODENAME": "outrigger@localhost",
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        "RUNNING_UNDER_SYSTEMD": "true",  # the script becomes the server, so that it is our child itself
    }


def _prepare(home: Home, folder: Path, port: int, services: Sequence[str]) -> None:
    """Write its settings, its users, and the queues that must be there before anything is published."""
    definitions = folder / "definitions.json"
    known = passwords(home.credentials, services)
    _write(definitions, json.dumps(defined(home.root / DECLARED, known)))
    lines = [
        f"listeners.tcp.1 = {LOOPBACK}:{port}",
        f"load_definitions = {definitions}",
        "log.console.level = warning",
        # What no broker of one machine needs to guard against: other disks may be nearly full.
        "disk_free_limit.absolute = 50MB",
    ]
    _write(folder / "rabbitmq.conf", "\n".join(lines) + "\n")


def defined(declared: Path, known: Mapping[str, str]) -> dict[str, Any]:
    """Return what a new broker must know: the queues that are declared, and the users with their passwords."""
    queues = json.loads(declared.read_text()) if declared.is_file() else {}
    everything = dict.fromkeys(("configure", "write", "read"), ".*")
    return queues | {
        "vhosts": [{"name": "/"}],
        "users": [_user(name, password) for name, password in known.items()],
        "permissions": [{"user": name, "vhost": "/", **everything} for name in known],
    }


def _user(name: str, password: str) -> dict[str, Any]:
    """Describe a user as RabbitMQ keeps them: four bytes of salt, then SHA-256 of salt and password."""
    salt = secrets.token_bytes(4)
    digest = base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()
    return {"name": name, "password_hash": digest, "hashing_algorithm": "rabbit_password_hashing_sha256", "tags": ""}


def _write(path: Path, text: str) -> None:
    path.touch(0o600)
    path.write_text(text)


async def answers(port: int, words: bytes = _HELLO) -> bool:
    """Ask once whether a broker serves there, or who else answers to these words."""
    return bool(await spoken(port, words))
