"""Building the pinned daprd from its Go module, once a machine, into the user's cache (`gotools`)."""

from pathlib import Path

from outrigger.gotools import GoTools
from outrigger.home import Home

VERSION = "1.14.0"
_LINKER = f"-s -w -X github.com/dapr/dapr/pkg/buildinfo.version={VERSION}"


def built(home: Home) -> Path | None:
    """Return the daprd of the cache, if it was built from the very module of this checkout."""
    folder = _tools(home).built()
    return folder / "daprd" if folder else None


def build(home: Home) -> Path:
    """Build daprd and its companions unless another process just did; shows progress on stderr."""
    return _tools(home).build() / "daprd"


def _tools(home: Home) -> GoTools:
    """Return daprd, placement, scheduler and sentry."""
    return GoTools(
        home.runtime_module, "runtime", VERSION, f"Building daprd {VERSION} (once; some minutes)", ("daprd",),
        flags=("-tags", "stablecomponents", "-ldflags", _LINKER),
        advice=" Or install Dapr, or set DAPRD to a daprd of 1.14 or later.",
    )  # fmt: skip
