"""Building what is pinned as a Go module, once a machine, into the user's cache: daprd, and the tools that tests run.

The cache folder's name holds a hash of `go.mod`, `go.sum` and programs of ours: a changed pin is another folder. It
appears by a rename when it is whole, so a build that was cut short leaves nothing that could be mistaken for one.
"""

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from outrigger.errors import LauncherError
from outrigger.filelock import locked
from outrigger.golang import OLDEST, find_go
from outrigger.home import Home, cache_folder
from outrigger.progress import Progress, follow

VERSION = "1.14.0"
_LINKER = f"-s -w -X github.com/dapr/dapr/pkg/buildinfo.version={VERSION}"
_LAST_LINES = 15


@dataclass(frozen=True, slots=True)
class Module:
    """A Go module of ours whose `tool` lines name programs: all of them are built, into one folder."""

    source: Path
    shelf: str  # the folder in the cache
    title: str
    flags: tuple[str, ...] = ("-ldflags", "-s -w")
    version: str = ""
    advice: str = ""

    @property
    def folder(self) -> Path:
        """Where its programs lie, once they are built."""
        pins = [self.source / "go.mod", self.source / "go.sum", *sorted(self._own())]
        digest = hashlib.sha256(b"".join(file.read_bytes() for file in pins)).hexdigest()[:12]
        return cache_folder() / self.shelf / "-".join(filter(None, (self.version, digest)))

    def _own(self) -> Iterator[Path]:
        """Find Go files of ours; a folder with a `go.mod` is a module of its own."""
        for file in self.source.glob("*/*.go"):
            if not (file.parent / "go.mod").exists():
                yield file


def built(home: Home) -> Path | None:
    """Return the daprd of the cache, if it was built from the very module of this checkout."""
    return _there(_runtime(home), "daprd")


def build(home: Home) -> Path:
    """Build daprd and its companions unless another process just did; shows progress on stderr."""
    return _built(_runtime(home), "daprd")


def tool(home: Home, module: str, program: str) -> Path:
    """Return a program of `dapr/runtime/<module>`, and build that module first where it is not in the cache."""
    return _built(Module(home.runtime_module / module, module, f"Building {program} (once)"), program)


def _runtime(home: Home) -> Module:
    return Module(
        home.runtime_module, "runtime", f"Building daprd {VERSION} (once; some minutes)",
        ("-tags", "stablecomponents", "-ldflags", _LINKER), VERSION,
        "Or install Dapr, or set DAPRD to a daprd of 1.14 or later.",
    )  # fmt: skip


def _there(module: Module, program: str) -> Path | None:
    binary = module.folder / program
    return binary if os.access(binary, os.X_OK) else None


def _built(module: Module, program: str) -> Path:
    if found := _there(module, program):
        return found
    folder = module.folder
    with Progress(module.title) as progress, locked(folder.parent / f"{folder.name}.lock", progress.waiting):
        return _there(module, program) or _build(module, folder, progress) / program


def _build(module: Module, folder: Path, progress: Progress) -> Path:
    scratch = Path(tempfile.mkdtemp(prefix="building-", dir=folder.parent))
    try:
        _compile(module, scratch, progress)
        shutil.rmtree(folder, ignore_errors=True)
        scratch.chmod(0o755)
        scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return folder


def _compile(module: Module, target: Path, progress: Progress) -> None:
    """Run `go build tool`: the module's `tool` lines name what is built, such as daprd, placement and sentry."""
    command = [
        *(str(find_go(_needed(module))), "build", "-v", "-mod=readonly", "-trimpath", *module.flags),
        *("-o", f"{target}{os.sep}", "tool"),
    ]
    environment = os.environ | {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "", "GOWORK": "off"}
    process = subprocess.Popen(
        command, cwd=module.source, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    lines = follow(process, progress, _what_go_does)
    if process.returncode != 0:
        told = "\n".join(lines[-_LAST_LINES:])
        needs = f"Go needs to reach its module proxy for this. {module.advice}".strip()
        raise LauncherError(f"{module.title} failed; Go said:\n{told}\n{needs}")


def _needed(module: Module) -> tuple[int, int]:
    """Read which Go the module asks for, from its line `go 1.24.0`."""
    found = re.search(r"^go (\d+)\.(\d+)", (module.source / "go.mod").read_text(), re.MULTILINE)
    return (int(found[1]), int(found[2])) if found else OLDEST


def _what_go_does(lines: list[str]) -> str:
    """Tell how far the build is; `go build -v` names every package and every download."""
    downloads = sum(line.startswith("go: downloading") for line in lines)
    packages = sum("/" in line and " " not in line for line in lines)
    return f"{packages} packages compiled" if packages else f"{downloads} modules fetched"
