"""Zipkin, where traces are looked at: its jar, fetched once a machine, and how it is run.

It is a comfort: nothing waits for it, and a run without it keeps no traces and is otherwise the same.
"""

import os
import tempfile
from functools import partial
from pathlib import Path

from outrigger import maven
from outrigger.commands import Command
from outrigger.errors import LauncherError
from outrigger.filelock import locked
from outrigger.home import Home, cache_folder
from outrigger.java import find_java
from outrigger.maven import Jar, Unfetched
from outrigger.parts import Part, healthy
from outrigger.ports import LOOPBACK
from outrigger.progress import Progress
from outrigger.resources import TRACES

VERSION = "3.6.1"
SHA256 = "d8326e0ed4f43855dba81228f688554706e52578a7c782d9a90b73f8680654a1"
FETCH = "`make setup` fetches it (once; 130 MB)."
MISSING = f"Zipkin is not there, so no traces are kept; {FETCH}"
_ARTIFACT = f"io.zipkin:zipkin-server:{VERSION}:jar:exec"
_HEAP = "192m"
_SPANS = 60_000  # what that heap holds; the oldest traces give way
_ENVIRONMENT = ("PATH", "HOME", "LANG", "TMPDIR")  # no more: Zipkin takes brokers and stores to connect to from it


def jar() -> Path | None:
    """Return the jar of the cache. What stands there was checked."""
    path = _place()
    return path if path.is_file() else None


def fetch() -> Path:
    """Return the jar, fetched from Maven Central or taken from Maven's local repository where it is not in the cache.

    Raises `LauncherError` if it cannot be had, or is not the one that we know.
    """
    title = f"Fetching Zipkin {VERSION} (once; 130 MB)"
    if there := jar():
        return there
    with Progress(title) as progress, locked(_place().with_suffix(".lock"), progress.waiting):
        return jar() or _fetch(progress)


def zipkin(home: Home, port: int) -> Part | None:
    """Return how to run Zipkin, its traces in memory; None where there is no jar or no Java."""
    found = jar()
    if found is None:
        return None
    try:
        java = find_java()
    except LauncherError:
        return None
    argv = (
        *("java", f"-Xmx{_HEAP}", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:+ExitOnOutOfMemoryError"),
        *("-jar", str(found), f"--armeria.ports[0].port={port}"),
        *(f"--armeria.ports[0].ip={LOOPBACK}", "--armeria.ports[0].protocols[0]=http"),  # else every address
    )
    kept = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    env = {**kept, "STORAGE_TYPE": "mem", "MEM_MAX_SPANS": str(_SPANS)}
    command = Command("zipkin", java, argv, home.work, env, home.logs / "zipkin.log")
    url = f"http://{LOOPBACK}:{port}"
    return Part(command, partial(healthy, url), {TRACES: f"{url}/api/v2/spans"}, url=url, awaited=False)


def _place() -> Path:
    return cache_folder() / "zipkin" / f"zipkin-server-{VERSION}-exec.jar"


def _fetch(progress: Progress) -> Path:
    place = _place()
    place.parent.mkdir(parents=True, exist_ok=True)
    wanted = Jar("io.zipkin", "zipkin-server", VERSION, SHA256, "exec")
    with tempfile.TemporaryDirectory(prefix="fetching-", dir=place.parent) as scratch:
        try:
            maven.fetch([wanted], Path(scratch), progress.tell)
        except Unfetched as error:
            raise LauncherError(
                f"Zipkin could not be fetched ({error}); all else works, without traces. Behind a mirror of your "
                f"own run `mvn dependency:get -Dtransitive=false -Dartifact={_ARTIFACT}`, then `make setup` again."
            ) from error
        (Path(scratch) / wanted.file).replace(place)
    return place
