"""Building the pinned daprd from its Go module, once a machine, into the user's cache.

The cache folder's name holds a hash of `go.mod` and `go.sum`: a changed pin is another folder. The folder appears by a
rename when it is whole, so a build that was cut short leaves nothing that could be mistaken for one.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from outrigger.errors import LauncherError
from outrigger.filelock import locked
from outrigger.golang import find_go
from outrigger.home import Home, cache_folder
from outrigger.progress import Progress, follow

VERSION = "1.14.0"
_LINKER = f"-s -w -X github.com/dapr/dapr/pkg/buildinfo.version={VERSION}"
_LAST_LINES = 15


def built(home: Home) -> Path | None:
    """Return the daprd of the cache, if it was built from the very module of this checkout."""
    binary = _folder(home) / "daprd"
    return binary if os.access(binary, os.X_OK) else None


def build(home: Home) -> Path:
    """Build daprd and its companions unless another process just did; shows progress on stderr."""
    folder = _folder(home)
    title = f"Building daprd {VERSION} (once; some minutes)"
    with Progress(title) as progress, locked(folder.parent / f"{folder.name}.lock", progress.waiting):
        return built(home) or _build(home, folder, progress)


def _folder(home: Home) -> Path:
    pins = b"".join((home.runtime_module / name).read_bytes() for name in ("go.mod", "go.sum"))
    return cache_folder() / "runtime" / f"{VERSION}-{hashlib.sha256(pins).hexdigest()[:12]}"


def _build(home: Home, folder: Path, progress: Progress) -> Path:
    scratch = Path(tempfile.mkdtemp(prefix="building-", dir=folder.parent))
    try:
        _compile(home.runtime_module, scratch, progress)
        shutil.rmtree(folder, ignore_errors=True)
        scratch.chmod(0o755)
        scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return folder / "daprd"


def _compile(module: Path, target: Path, progress: Progress) -> None:
    """Run `go build tool`: the module's `tool` lines name daprd, placement, scheduler and sentry."""
    command = [
        *(str(find_go()), "build", "-v", "-mod=readonly", "-trimpath"),
        *("-tags", "stablecomponents", "-ldflags", _LINKER, "-o", f"{target}{os.sep}", "tool"),
    ]
    environment = os.environ | {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "", "GOWORK": "off"}
    process = subprocess.Popen(
        command, cwd=module, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    lines = follow(process, progress, _what_go_does)
    if process.returncode != 0:
        told = "\n".join(lines[-_LAST_LINES:])
        raise LauncherError(
            f"Building daprd {VERSION} failed; Go said:\n{told}\n"
            "Go needs to reach its module proxy for this. Or install Dapr, or set DAPRD to a daprd of 1.14 or later."
        )


def _what_go_does(lines: list[str]) -> str:
    """Tell how far the build is; `go build -v` names every package and every download."""
    downloads = sum(line.startswith("go: downloading") for line in lines)
    packages = sum("/" in line and " " not in line for line in lines)
    return f"{packages} packages compiled" if packages else f"{downloads} modules fetched"
