"""One instance per host and network namespace.

Sidecars find each other by multicast, which knows app ids and nothing else: two stacks with the same ids on one
network answer each other's calls. The lock is therefore the host's, keyed by the network namespace.
"""

import json
import os
from pathlib import Path

from outrigger.errors import LauncherError
from outrigger.filelock import FileLock

_SHARED = Path("/tmp")  # noqa: S108 - every user of the host must meet here; $TMPDIR is each one's own


def lock_path(folder: Path = _SHARED) -> Path:
    """Return the lock file of this network namespace."""
    try:
        namespace = Path("/proc/self/ns/net").stat().st_ino
    except OSError:
        namespace = 0  # no namespaces here (macOS): one a host
    return folder / f"outrigger-{namespace}.lock"


def claim(project: Path, path: Path | None = None) -> FileLock:
    """Become the one instance; raises `LauncherError` that names the other if there is one."""
    lock = FileLock(path or lock_path())
    if lock.take(json.dumps({"folder": str(project), "pid": os.getpid()})):
        return lock
    raise LauncherError(refusal(project, lock.note()))


def refusal(project: Path, note: str) -> str:
    """Say who is there already and how to stop it."""
    try:
        other = json.loads(note)
        folder, pid = other["folder"], other["pid"]
    except (ValueError, KeyError, TypeError):
        return "Another Outrigger runs on this host already; stop it with `outrigger down` in its folder first."
    if folder == str(project):
        return f"Outrigger runs here already (pid {pid}): see `outrigger status`, stop it with `outrigger down`."
    return (
        f"Another Outrigger runs on this host already, from {folder} (pid {pid}); two would answer each other's calls. "
        "Stop it with `outrigger down` there, or give this one a network namespace of its own."
    )
