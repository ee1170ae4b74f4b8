"""A copy of the project's wiring in a folder with a space in its name, and waiting without sleeping blindly."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from outrigger.home import Home

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Return a project with the real template and components, and empty apps."""
    root = tmp_path / "a folder"
    for part in ("components", "dapr/dapr.yaml", "dapr/config.yaml", "dapr/runtime"):
        _copy(REPOSITORY / part, root / part)
    for app in (REPOSITORY / "apps").iterdir():
        (root / "apps" / app.name).mkdir(parents=True)
    return Home(root)


@pytest.fixture
def eventually() -> Callable[..., None]:
    """Return a function that waits until a condition holds, and fails after a deadline."""

    def wait(condition: Callable[[], object], *, within: float = 15.0) -> None:
        deadline = time.monotonic() + within
        while not condition():
            assert time.monotonic() < deadline, f"not within {within} s"
            time.sleep(0.02)

    return wait


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy(source, target)
