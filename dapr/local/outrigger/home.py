"""Where things lie: the project's folder and `.outrigger`, which holds all that a run leaves behind."""

import os
from dataclasses import dataclass
from pathlib import Path

from outrigger.errors import LauncherError


@dataclass(frozen=True, slots=True)
class Home:
    """The project's folder. Nothing is created by asking where it would be."""

    root: Path

    @property
    def template(self) -> Path:
        """The run template that `dapr run -f dapr` reads as well."""
        return self.root / "dapr" / "dapr.yaml"

    @property
    def runtime_module(self) -> Path:
        """The Go module that pins daprd."""
        return self.root / "dapr" / "runtime"

    @property
    def work(self) -> Path:
        """All that a run leaves behind; ignored by git, removed by `make clean`."""
        return self.root / ".outrigger"

    @property
    def resources(self) -> Path:
        """The Dapr resources of this run, rendered from `components/`."""
        return self.work / "resources"

    @property
    def configs(self) -> Path:
        """The Dapr Configuration of this run, rendered from `dapr/`."""
        return self.work / "config"

    @property
    def data(self) -> Path:
        """What survives a restart: the stores' files and the broker's."""
        return self.work / "data"

    @property
    def mail(self) -> Path:
        """The mails that were sent, one file each."""
        return self.work / "mail"

    @property
    def secrets(self) -> Path:
        """What the secret store holds; readable by its owner alone."""
        return self.work / "secrets.json"

    @property
    def credentials(self) -> Path:
        """What each service knows to reach broker and store: a file each, readable by its owner alone."""
        return self.work / "credentials"

    @property
    def logs(self) -> Path:
        """One file a process."""
        return self.work / "logs"

    @property
    def run_file(self) -> Path:
        """The state of the run: ports, process ids, phase."""
        return self.work / "run.json"


def find_home(start: Path | None = None) -> Home:
    """Find the project around `start` (the current folder), else around this package's source."""
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents, *Path(__file__).resolve().parents):
        if (folder / "dapr" / "dapr.yaml").is_file():
            return Home(folder)
    raise LauncherError(f"There is no dapr/dapr.yaml in {here} or above it: change to the project's folder first.")


def cache_folder() -> Path:
    """Where built tools are kept between checkouts."""
    if own := os.environ.get("OUTRIGGER_CACHE"):
        return Path(own).expanduser().resolve()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "outrigger"
