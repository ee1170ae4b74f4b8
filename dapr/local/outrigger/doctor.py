"""`outrigger doctor`: looks at what a run needs, and says what to do about what is missing."""

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from outrigger.choice import Choice
from outrigger.errors import LauncherError
from outrigger.filelock import FileLock
from outrigger.golang import find_go
from outrigger.home import Home
from outrigger.instance import lock_path, refusal
from outrigger.java import find_java
from outrigger.plan import kinds_of
from outrigger.ports import require_free
from outrigger.runtime import present
from outrigger.runtime_build import built
from outrigger.servers import LOOKS, NAMES
from outrigger.state import read_run
from outrigger.template import EDGE, read_template, resolve
from outrigger.zipkin import FETCH, jar

_DISK = 4 * 2**30  # a build of daprd fetches and compiles about 3 GiB


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. `good` False means that a run would fail on it."""

    what: str
    good: bool
    detail: str


def examine(home: Home, choice: Choice) -> list[Finding]:
    """Look at everything; nothing is started or built."""
    looks: dict[str, Callable[[], str]] = {
        "Python": lambda: f"{sys.version.split()[0]}, {sys.executable}",
        "run template": lambda: _template(home),
        "daprd": lambda: _daprd(home),
        **_parts(home, choice),
        "Zipkin": _zipkin,
        "folder": lambda: _folder(home),
        "gateway's port": lambda: _port(home),
        "other instance": lambda: _alone(home),
    }
    return [_look(what, look) for what, look in looks.items()]


def _look(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what, good=True, detail=look())
    except LauncherError as error:
        return Finding(what, good=False, detail=str(error))


def _template(home: Home) -> str:
    template = read_template(home.template)
    for app in template.apps:
        folder = resolve(home.template.parent, app.app_dir_path)
        if not folder.is_dir():
            raise LauncherError(f"appDirPath of {app.app_id} is {folder}, which is no folder.")
    return f"{home.template}, apps {', '.join(app.app_id for app in template.apps)}"


def _daprd(home: Home) -> str:
    if found := present(home):
        return str(found)
    return f"not there yet; `make setup` builds it once (some minutes) with {find_go()}"


def _parts(home: Home, choice: Choice) -> dict[str, Callable[[], str]]:
    """Look at brokers and stores; what this run does not use may be missing."""
    try:
        used = kinds_of(home, choice)
    except LauncherError:
        used = set()  # the template's own finding says why
    return {NAMES[kind]: partial(_part, look, needed=kind in used) for kind, look in LOOKS.items()}


def _part(look: Callable[[], str], *, needed: bool) -> str:
    try:
        return look()
    except LauncherError as error:
        if needed:
            raise
        return f"not used by this run. {error}"


def _zipkin() -> str:
    return f"{jar()}, {find_java()}" if jar() else f"not there; a run keeps no traces. {FETCH}"


def _folder(home: Home) -> str:
    if not os.access(home.root, os.W_OK):
        raise LauncherError(f"{home.root} cannot be written to: .outrigger must go there.")
    free = shutil.disk_usage(home.root).free
    if free < _DISK and not built(home):
        raise LauncherError(f"Only {free / 2**30:.1f} GiB are free in {home.root}; building daprd needs 4.")
    return f"{home.root}, {free / 2**30:.0f} GiB free"


def _port(home: Home) -> str:
    run = read_run(home.run_file)
    if run and run.alive():
        return f"in use by this run, {run.gateway}"
    port = next((app.app_port for app in read_template(home.template).apps if app.app_id == EDGE), 8080)
    require_free(port)
    return f"{port} is free"


def _alone(home: Home) -> str:
    run, lock = read_run(home.run_file), FileLock(lock_path())
    if run and run.alive():
        return f"none; this folder's own run is {run.phase.value}"
    if lock.held_by_other():
        raise LauncherError(refusal(home.root, lock.note()))
    return "none on this host"
