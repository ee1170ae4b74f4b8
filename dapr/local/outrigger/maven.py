"""Fetching jars from Maven Central, each held to the checksum that we know."""

import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from outrigger.errors import LauncherError


@dataclass(frozen=True, slots=True)
class Jar:
    """A jar, as Maven names it, and its SHA-256."""

    group: str
    artifact: str
    version: str
    sha256: str
    classifier: str = ""

    @property
    def file(self) -> str:
        """How its file is called."""
        return "-".join(part for part in (self.artifact, self.version, self.classifier) if part) + ".jar"


class Unfetched(LauncherError):
    """A jar could not be had."""


def fetch(jars: list[Jar], folder: Path, tell: Callable[[str], None]) -> None:
    """Put the jars into `folder`. Raises `Unfetched`, or `LauncherError` if one is not what we know.

    The resolver knows Maven Central by itself; a jar in Maven's own local repository is taken as well.
    """
    from jgo.constants import default_maven_repo  # noqa: PLC0415 - a fifth of a second, for one command
    from jgo.maven import MavenContext, PythonResolver  # noqa: PLC0415

    @contextmanager
    def told(name: str, size: int) -> Iterator[Callable[[int], None]]:
        arrived = 0

        def more(count: int) -> None:
            nonlocal arrived
            arrived += count
            tell(f"{arrived // 2**20} of {size // 2**20} MB of {name}")

        yield more

    context = MavenContext(PythonResolver(progress_callback=told), folder / "m2", local_repos=[default_maven_repo()])
    for jar in jars:
        component = context.project(jar.group, jar.artifact).at_version(jar.version)
        try:
            found = component.artifact(classifier=jar.classifier).resolve()
        except (OSError, RuntimeError) as error:
            raise Unfetched(type(error).__name__) from error
        _keep(jar, found, folder / jar.file)
    shutil.rmtree(folder / "m2", ignore_errors=True)


def _keep(jar: Jar, found: Path, place: Path) -> None:
    shutil.copyfile(found, place)
    with place.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != jar.sha256:
        place.unlink()
        raise LauncherError(f"What came as {jar.file} is another file (SHA-256 {digest}); it was not kept.")
