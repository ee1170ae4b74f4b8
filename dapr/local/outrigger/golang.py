"""Finding a Go that builds daprd and other tools: the one on PATH, else the one that came into the venv as a wheel."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from outrigger.errors import LauncherError

OLDEST = (1, 24)


def find_go(needed: tuple[int, int] = OLDEST) -> Path:
    """Return a `go` of `needed` or later."""
    for candidate in (shutil.which("go"), Path(sys.executable).parent / "go"):
        if candidate and (version := _version(Path(candidate))) and version >= needed:
            return Path(candidate)
    wanted = ".".join(map(str, needed))
    raise LauncherError(f"Building this needs Go {wanted} or later: run `make setup` (it brings one), or install Go.")


def _version(go: Path) -> tuple[int, int] | None:
    environment = os.environ | {"GOTOOLCHAIN": "local"}  # its own version, not the one that a go.mod makes it fetch
    try:
        done = subprocess.run([go, "version"], capture_output=True, text=True, timeout=30, check=False, env=environment)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse_go_version(done.stdout)


def parse_go_version(text: str) -> tuple[int, int] | None:
    """Read `go version go1.27.3 linux/amd64`."""
    found = re.search(r"go version go(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else None
