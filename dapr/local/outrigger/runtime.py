"""Finding daprd: one that is installed, else the pinned one from the cache, else built from `dapr/runtime`.

Order: the path in `DAPRD`, PATH, `~/.dapr/bin` (where `dapr init` puts it), the cache. Any version from 1.14 on is
taken, and nothing else in this project asks which it is (`tests/architecture/test_versions.py`).
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from outrigger.errors import LauncherError
from outrigger.home import Home, find_home
from outrigger.runtime_build import build, built

TESTED = (1, 14, 0)
OLDEST = (1, 14)

Version = tuple[int, ...]


def daprd(home: Home | None = None) -> Path:
    """Return a daprd to run, building it first if none is there (some minutes, once a machine).

    Raises `LauncherError` if `DAPRD` names something unusable or the build fails.
    """
    where = home or find_home()
    return present(where) or build(where)


def present(home: Home) -> Path | None:
    """Return the daprd that a run would use; None where it would have to be built first."""
    return find_installed() or built(home)


def find_installed() -> Path | None:
    """Return an installed daprd of a version we can use; says so on stderr if we do not test that version."""
    if named := os.environ.get("DAPRD"):
        return _named(Path(named).expanduser())
    for candidate in _usual_places():
        version = version_of(candidate)
        if version and version >= OLDEST:
            _notice(candidate, version)
            return candidate
    return None


def version_of(binary: Path) -> Version | None:
    """Ask a daprd for its version; None if it does not answer with one."""
    return parse_version(_answer(binary))


def parse_version(text: str) -> Version | None:
    """Read `1.14.0`, `v1.15.2-rc.1` and the like; None for `edge` and other names."""
    found = re.match(r"\s*v?(\d+)\.(\d+)\.(\d+)", text)
    return tuple(int(part) for part in found.groups()) if found else None


def _answer(binary: Path) -> str:
    try:
        done = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def _named(binary: Path) -> Path:
    """Return the one that `DAPRD` names, if it will do."""
    answer = _answer(binary) if binary.is_absolute() and os.access(binary, os.X_OK) else ""
    version = parse_version(answer)
    if version is None or version < OLDEST:
        raise LauncherError(f"DAPRD is {binary}{_complaint(binary, answer)}.")
    _notice(binary, version)
    return binary.resolve()


def _complaint(binary: Path, answer: str) -> str:
    if not binary.is_absolute():
        return ": give its whole path, for what is started here works in other folders"
    if not binary.is_file():
        return ", and there is no such file"
    if not os.access(binary, os.X_OK):
        return ", which may not be executed"
    said = answer.strip().partition("\n")[0]
    told = f"its answer to --version is {said!r}" if said else "it does not answer to --version"
    return f"; {told}, and a daprd of 1.14 or later is needed"


def _usual_places() -> Iterator[Path]:
    if on_path := shutil.which("daprd"):
        yield Path(on_path)
    yield Path.home() / ".dapr" / "bin" / "daprd"


def _notice(binary: Path, version: Version) -> None:
    if version != TESTED:
        said = f"Using {binary}, version {_dotted(version)}; tested with {_dotted(TESTED)}."
        print(said, file=sys.stderr, flush=True)


def _dotted(version: Version) -> str:
    return ".".join(str(part) for part in version)
