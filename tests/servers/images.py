"""Images made on this machine, of Debian's packages and our own daprd, for where none can be fetched.

They take what tests give them as the usual images do: the same programs, places and variables. A tar of each root file
system stays in the cache; making one needs root, Debian and its package mirror.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from platform import freedesktop_os_release

import docker

from outrigger import zipkin
from outrigger.home import cache_folder
from outrigger.kafka import fetch
from outrigger.progress import Progress
from outrigger.runtime import daprd
from servers.wheels import fetch_wheels, wheels_key

PREFIX = "outrigger"
_NEVER_START = "#!/bin/sh\nexit 101\n"  # packages start no service while they are installed
_INSTALL = """root=$1 && shift && mount -t proc proc "$root/proc"
exec chroot "$root" apt-get install -qqy --no-install-recommends "$@"
"""
_MINUTES = 15 * 60
SUITE = freedesktop_os_release().get("VERSION_CODENAME", "stable")

SERVE_POSTGRESQL = """#!/bin/sh
set -e
PATH="$(echo /usr/lib/postgresql/*/bin):$PATH"
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  words=$(mktemp) && cat ${POSTGRES_PASSWORD_FILE:--} >"$words" <<END
$POSTGRES_PASSWORD
END
  user=${POSTGRES_USER:-postgres}
  initdb -U "$user" --pwfile="$words" --auth-host=scram-sha-256 --encoding=UTF8 $POSTGRES_INITDB_ARGS >/dev/null
  rm "$words"
  echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
  { echo "CREATE DATABASE \\"${POSTGRES_DB:-spare}\\""; cat /docker-entrypoint-initdb.d/*.sql; } 2>/dev/null |
    postgres --single postgres >/dev/null
fi
[ "$1" != postgres ] || shift
exec postgres -c listen_addresses='*' "$@"
"""
ZIPKIN_HEALTH = "#!/bin/sh\nexec wget -q -O /dev/null http://127.0.0.1:9411/health\n"
BUILDING = (
    "PIP_NO_INDEX=1",
    "PIP_FIND_LINKS=/wheels",
    "PIP_BREAK_SYSTEM_PACKAGES=1",
    "UV_FIND_LINKS=/wheels",
    "UV_OFFLINE=1",
)


def _jars(root: Path) -> None:
    shutil.copytree(fetch(), root / "opt/kafka/libs")
    _run("chroot", str(root), "install", "-d", "-o", "nobody", "/var/lib/kafka/data")


def _serve(root: Path) -> None:
    _script(root / "usr/local/bin/serve", SERVE_POSTGRESQL)


def _zipkin(root: Path) -> None:
    (root / "zipkin").mkdir()
    shutil.copy(zipkin.fetch(), root / "zipkin" / "zipkin.jar")
    _script(root / "usr/local/bin/docker-healthcheck", ZIPKIN_HEALTH)


def _wheels(root: Path) -> None:
    shutil.copytree(fetch_wheels(), root / "wheels")


def _script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def _data(root: Path) -> None:
    _run("chroot", str(root), "install", "-d", "-o", "redis", "/data")


def _daprd(root: Path) -> None:
    shutil.copy(daprd(), root / "daprd")


@dataclass(frozen=True, slots=True)
class Recipe:
    """What an image holds, and how it is run, in the words of a Dockerfile. Without packages it holds nothing else."""

    packages: tuple[str, ...]
    changes: tuple[str, ...]
    finish: Callable[[Path], None] = field(default=lambda _root: None)

    @property
    def key(self) -> str:
        """Name what the cache keeps of it; another daprd is another image."""
        made_of = repr((self.packages, SERVE_POSTGRESQL, ZIPKIN_HEALTH, "" if self.packages else daprd().stat()))
        if self.finish is _wheels:
            made_of += wheels_key()
        return hashlib.sha256(made_of.encode()).hexdigest()[:12]


RECIPES = {
    "redis": Recipe(("redis-server",), ("USER redis", "WORKDIR /data", 'CMD ["redis-server"]'), _data),
    "rabbitmq": Recipe(
        ("rabbitmq-server",),
        (
            "USER rabbitmq",
            # The script becomes the server, and so hears Docker's signals.
            "ENV HOME=/var/lib/rabbitmq RABBITMQ_LOGS=- RUNNING_UNDER_SYSTEMD=true",
            'CMD ["/usr/lib/rabbitmq/bin/rabbitmq-server"]',
        ),
    ),
    "kafka": Recipe(("default-jre-headless",), ("USER nobody",), _jars),
    "postgresql": Recipe(
        ("postgresql",),
        ("USER postgres", "ENV PGDATA=/var/lib/postgresql/served", 'ENTRYPOINT ["/usr/local/bin/serve"]'),
        _serve,
    ),
    "daprd": Recipe((), ('ENTRYPOINT ["/daprd"]',), _daprd),
    "caddy": Recipe(("caddy", "wget"), ()),
    "syslog": Recipe(("syslog-ng-core",), ()),
    "zipkin": Recipe(
        ("default-jre-headless", "wget"),
        ("USER nobody", 'ENTRYPOINT ["sh", "-c", "exec java $JAVA_OPTS -jar /zipkin/zipkin.jar"]'),
        _zipkin,
    ),
    # What our own images are made of: the base, and the same with all that a build would fetch.
    "python": Recipe(("python3",), ()),
    "python-build": Recipe(("python3", "python3-pip"), (f"ENV {' '.join(BUILDING)}",), _wheels),
}


def make(name: str) -> Path:
    """Return the root file system of an image as a tar; made where the cache has none, with access to packages."""
    recipe = RECIPES[name]

    def fill(root: Path) -> None:
        if recipe.packages:
            _run("tar", "-C", str(root), "-xf", str(_kept(f"debian-{SUITE}", _debian)))
            # Java's package wants /proc; the mount goes with the namespace.
            _run("unshare", "--mount", "sh", "-c", _INSTALL, "sh", str(root), *recipe.packages)
            _run("chroot", str(root), "apt-get", "clean")
        recipe.finish(root)

    return _kept(f"{name}-{recipe.key}", fill)


def load(client: docker.DockerClient, name: str) -> str:
    """Give an engine an image; returns its name, which has no registry in it."""
    repository = f"{PREFIX}/{name}"
    changes = list(RECIPES[name].changes)
    told = client.api.import_image_from_file(str(make(name)), repository=repository, tag="local", changes=changes)
    if "error" in str(told):
        raise RuntimeError(f"the engine refused {repository}: {told}")
    return f"{repository}:local"


def _kept(name: str, fill: Callable[[Path], None]) -> Path:
    """Return a tar of the cache, made of what `fill` puts into a folder where there is none."""
    tar = cache_folder() / "images" / f"{name}.tar"
    if tar.is_file():
        return tar
    tar.parent.mkdir(parents=True, exist_ok=True)
    with Progress(f"Making {name} (once)"), tempfile.TemporaryDirectory(dir=tar.parent) as scratch:
        root, draft = Path(scratch) / "root", Path(scratch) / "tar"
        root.mkdir()
        fill(root)
        _run("tar", "-C", str(root), "-cf", str(draft), ".")
        draft.rename(tar)
    return tar


def _debian(root: Path) -> None:
    """Install the smallest Debian, in which no package starts a service."""
    _run("debootstrap", "--variant=minbase", SUITE, str(root))
    (root / "usr/sbin/policy-rc.d").write_text(_NEVER_START)
    (root / "usr/sbin/policy-rc.d").chmod(0o755)


def _run(*argv: str) -> None:
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=_MINUTES, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-2000:]}")
