"""The wheels of which our services' images are built where no index can be reached, fetched by uv.lock's hashes."""

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

from delivery.members import members, services
from outrigger.home import cache_folder, find_home
from outrigger.progress import Progress

UV_VERSION = "0.13.8"
TOOLS = (f"uv=={UV_VERSION}", "hatchling>=1.28")  # what a Dockerfile and our own packages are built with
SERVICES = services(members())
_PYTHON = "/usr/bin/python3"  # Debian's, as in the images
_SECONDS = 900


def wheels_key() -> str:
    """Name what the lock asks for."""
    lock = (find_home().root / "uv.lock").read_bytes()
    return hashlib.sha256(lock + repr(TOOLS).encode()).hexdigest()[:12]


def fetch_wheels() -> Path:
    """Return the folder of wheels, fetched where the cache has none."""
    place = cache_folder() / "wheels" / wheels_key()
    if place.is_dir():
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    with Progress("Fetching wheels (once)"), tempfile.TemporaryDirectory(dir=place.parent) as scratch:
        draft = Path(scratch) / "wheels"
        asked = Path(scratch) / "packages.txt"
        for service in SERVICES:
            _uv(
                "export",
                "--frozen",
                "--package",
                service,
                "--no-dev",
                "--no-emit-workspace",
                "--output-file",
                str(asked),
            )
            _download(draft, "--require-hashes", "--no-deps", "--requirement", str(asked))
        _download(draft, *TOOLS)
        shutil.move(draft, place)
    return place


def _download(target: Path, *words: str) -> None:
    _uv("tool", "run", "--python", _PYTHON, "pip", "download", "--only-binary", ":all:", "--dest", str(target), *words)


def _uv(*words: str) -> None:
    root = find_home().root
    argv = [root / "dapr/local/uv.sh", UV_VERSION, *words]
    done = subprocess.run(argv, cwd=root, capture_output=True, text=True, timeout=_SECONDS, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"uv {' '.join(words)} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-2000:]}")
