"""What the stand-in of overlay `local` makes of an empty PostgreSQL, on a real one."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.manifests import BACKING, K8S, SERVICES
from outrigger.postgresql import find_postgresql, not_root

pytestmark = pytest.mark.real

PROGRAMS = find_postgresql().server.parent
TRUSTED = "local postgres postgres trust\nlocal all all scram-sha-256\n"


@pytest.fixture
def made(tmp_path: Path) -> dict[str, dict[str, str]]:
    """Return the Secrets that a user makes, by name, as they are in the cluster."""
    script = [sys.executable, K8S / "make_secrets.py", "--local"]
    items = json.loads(subprocess.run(script, capture_output=True, text=True, timeout=60, check=True).stdout)["items"]
    return {
        f"{each['metadata']['namespace']}/{each['metadata']['name']}": {
            key: base64.b64decode(value).decode() for key, value in each["data"].items()
        }
        for each in items
    }


@pytest.fixture
def server(tmp_path: Path, made: dict[str, dict[str, str]]) -> Iterator[dict[str, str]]:
    """Run a server on a socket, as the image does while it runs the script; yields the environment of its clients."""
    data, socket, passwords = (tmp_path / name for name in ("data", "s", "passwords"))
    for folder in (socket, passwords):
        folder.mkdir()
    for name, password in made[f"{BACKING}/postgresql-passwords"].items():
        (passwords / name).write_text(password)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    initdb = not_root(PROGRAMS / "initdb", "-D", data, "-U", "postgres", "--auth=trust", "--no-sync")
    subprocess.run(initdb, env=clean, capture_output=True, timeout=100, check=True)
    (data / "pg_hba.conf").write_text(TRUSTED)
    control = not_root(PROGRAMS / "pg_ctl", "-D", data, "-w", "-l", data / "log")
    options = f"-c listen_addresses='' -c unix_socket_directories='{socket}' -c fsync=off"
    subprocess.run([*control, "-o", options, "start"], env=clean, timeout=100, check=True, stdout=subprocess.DEVNULL)
    try:
        yield {
            **clean, "PGHOST": str(socket), "PASSWORDS": str(passwords), "PATH": f"{PROGRAMS}:{os.environ['PATH']}",
        }  # fmt: skip
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], env=clean, timeout=100, check=True, capture_output=True)


def test_each_service_has_a_database_and_no_way_into_another_s(
    server: dict[str, str], made: dict[str, dict[str, str]]
) -> None:
    script = K8S / "overlays/local/backing/roles.sh"
    done = subprocess.run(["sh", script], env=server, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    strings = {
        name: json.loads(made[f"outrigger/{name}-credentials"]["credentials.json"])["postgresql"]
        for name in SERVICES[1:]
    }
    for name, string in strings.items():
        own = string.replace(f"host={name}-db port=5432 ", "")  # which is a name in the cluster
        assert _asked(server, own).stdout == f"{name}\n"
        for other in strings.keys() - {name}:
            refused = _asked(server, own.replace(f"dbname={name}", f"dbname={other}"))
            assert "permission denied" in refused.stderr
        assert _asked(server, own.replace("password=", "password=x")).returncode == 2


def _asked(server: dict[str, str], string: str) -> subprocess.CompletedProcess[str]:
    command = ["psql", string, "-XAtc", "CREATE TABLE IF NOT EXISTS mine (x int); SELECT current_database()"]
    return subprocess.run([*command, "-q"], env=server, capture_output=True, text=True, timeout=60, check=False)
