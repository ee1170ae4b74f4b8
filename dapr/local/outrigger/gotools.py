"""Building the programs that a Go module of ours pins, once a machine, into the user's cache.

The cache folder's name holds a hash of `go.mod`, `go.sum` and sources of our own: a changed pin is another folder. The
folder appears by a rename when it is whole, so a build that was cut short leaves nothing that could be mistaken for one.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from outrigger.errors import LauncherError
from outrigger.filelock import locked
from outrigger.golang import find_go
from outrigger.home import cache_folder
from outrigger.progress import Progress, follow

_LAST_LINES = 15
ENVIRONMENT = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "", "GOWORK": "off"}


@dataclass(frozen=True, slots=True)
class GoTools:
    """The programs that the `tool` lines of a module's `go.mod` name."""

    module: Path
    kind: str  # their folder in the cache
    version: str
    title: str  # what is built, in words
    programs: tuple[str, ...]  # without which the folder is not whole
    flags: tuple[str, ...] = ()
    advice: str = ""  # what to do where Go cannot build them

    @property
    def folder(self) -> Path:
        """Where they are once they are built."""
        sources = (*(self.module / name for name in ("go.mod", "go.sum")), *sorted(self.module.glob("*/*.go")))
        pins = b"".join(source.read_bytes() for source in sources)
        return cache_folder() / self.kind / f"{self.version}-{hashlib.sha256(pins).hexdigest()[:12]}"

    def built(self) -> Path | None:
        """Return the folder, if it was built from the very module of this checkout."""
        folder = self.folder
        return folder if all(os.access(folder / name, os.X_OK) for name in self.programs) else None

    def build(self) -> Path:
        """Build them unless another process just did; shows progress on stderr."""
        folder = self.folder
        with Progress(self.title) as progress, locked(folder.parent / f"{folder.name}.lock", progress.waiting):
            return self.built() or self._build(folder, progress)

    def _build(self, folder: Path, progress: Progress) -> Path:
        scratch = Path(tempfile.mkdtemp(prefix="building-", dir=folder.parent))
        try:
            self._compile(scratch, progress)
            shutil.rmtree(folder, ignore_errors=True)
            scratch.chmod(0o755)
            scratch.rename(folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return folder

    def _compile(self, target: Path, progress: Progress) -> None:
        command = [str(find_go()), "build", "-v", "-mod=readonly", "-trimpath", *self.flags]
        process = subprocess.Popen(
            [*command, "-o", f"{target}{os.sep}", "tool"], cwd=self.module, env=os.environ | ENVIRONMENT,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        lines = follow(process, progress, _what_go_does)
        if process.returncode != 0:
            told = "\n".join(lines[-_LAST_LINES:])
            raise LauncherError(
                f"{self.title} failed; Go said:\n{told}\nGo needs to reach its module proxy for this.{self.advice}"
            )


def _what_go_does(lines: list[str]) -> str:
    """Tell how far the build is; `go build -v` names every package and every download."""
    downloads = sum(line.startswith("go: downloading") for line in lines)
    packages = sum("/" in line and " " not in line for line in lines)
    return f"{packages} packages compiled" if packages else f"{downloads} modules fetched"
