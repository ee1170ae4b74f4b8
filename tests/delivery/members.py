"""The workspace's members under `apps/`, what each is made of, and which of them are services.

Everything is read from their `pyproject.toml`: an app that appears is known here at once.
"""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_NAME = re.compile(r"[A-Za-z0-9._-]+")


def members(root: Path = ROOT) -> dict[str, frozenset[str]]:
    """Return each app under `apps/` with those of the others that it depends on itself."""
    declared = {file.parent.name: _dependencies(file) for file in sorted(root.glob("apps/*/pyproject.toml"))}
    return {name: frozenset(names & declared.keys()) for name, names in declared.items()}


def services(known: Mapping[str, frozenset[str]]) -> list[str]:
    """Return the apps that are deployed: those that no other app is made of."""
    return sorted(known.keys() - frozenset().union(*known.values()))


def parts(known: Mapping[str, frozenset[str]], service: str) -> frozenset[str]:
    """Return an app with all apps that it is made of."""
    found = {service}
    for name in known[service]:
        found |= parts(known, name)
    return frozenset(found)


def _dependencies(file: Path) -> set[str]:
    project = tomllib.loads(file.read_text())["project"]
    return {found[0] for line in project["dependencies"] if (found := _NAME.match(line))}
