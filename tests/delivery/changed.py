"""Whether a change concerns a service: its own files, those of what it is made of, or what is locked for them.

Path filters of a workflow see files only. `uv.lock` is one file for all, so what it pins for one service is compared.
It needs Python's own library and nothing else, so that a workflow can ask before it installs anything.
"""

import re
import subprocess
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from delivery.members import ROOT, members, parts

LOCK = "uv.lock"
IMAGE = (".dockerignore", "apps/*")  # what all images are made with: files beside the apps, no folders
DELIVERY = (".github/workflows/service.yml", LOCK)
KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")
_LISTED = re.compile(r"^\s*-\s+(?:path:\s*)?([\w./-]+)\s*(?:#.*)?$", re.MULTILINE)  # more than paths; only those exist
NOTHING = "0" * 40  # what GitHub calls the commit before a branch's first


def watched(known: Mapping[str, frozenset[str]], service: str, root: Path = ROOT) -> list[str]:
    """Return the path filters of a service: what it is made of, its manifests, how it is delivered."""
    folders = [f"apps/{name}/**" for name in sorted(parts(known, service))]
    return [*folders, *IMAGE, *manifests(root, service), f".github/workflows/{service}.yml", *DELIVERY]


def manifests(root: Path, service: str) -> list[str]:
    """Return filters for all that a service's kustomization is put together from; none where it has none."""
    waiting, seen, found = [root / "k8s/base" / service], set[Path](), set[str]()
    while waiting:
        folder = waiting.pop()
        file = next((folder / name for name in KUSTOMIZATIONS if (folder / name).is_file()), None)
        if folder in seen or file is None:
            continue
        seen.add(folder)
        for part in _LISTED.findall(file.read_text()):
            other = (folder / part).resolve()
            if other.is_dir():
                waiting.append(other)
            elif other.is_file():
                found.add(str(other.relative_to(root)))
        found.add(f"{folder.relative_to(root)}/**" if _ours(folder, root) else str(file.relative_to(root)))
    return sorted(file for file in found if not any(file != f and _matches(f, file) for f in found))


def _ours(folder: Path, root: Path) -> bool:
    """Tell whether all of a folder is about the cluster."""
    return folder.relative_to(root).parts[0] == "k8s"


def concerned(patterns: Iterable[str], files: Iterable[str]) -> list[str]:
    """Return those of the files that a workflow with these path filters would start for."""
    return [file for file in files if any(_matches(pattern, file) for pattern in patterns)]


def locked(lock: str, service: str) -> frozenset[str]:
    """Return what `uv.lock` pins for a service, each with its hashes; nothing for one that it does not know."""
    packages: dict[str, list[dict[str, Any]]] = {}
    for package in tomllib.loads(lock).get("package", []):
        packages.setdefault(package["name"], []).append(package)
    found: set[str] = set()
    waiting, seen = [service], set[str]()
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            for package in packages.get(name, []):
                found.add(_pin(package))
                waiting += [dependency["name"] for dependency in _needs(package)]
    return frozenset(found)


def reasons(service: str, base: str, root: Path = ROOT) -> list[str]:
    """Say what in the commits since `base` concerns a service; where there is no such commit, everything does."""
    if base in {"", NOTHING} or _git(root, "cat-file", "-e", f"{base}^{{commit}}") is None:
        return ["there is nothing to compare with"]
    files = (_git(root, "diff", "--name-only", f"{base}...HEAD") or "").splitlines()
    found = concerned(watched(members(root), service, root), files)
    if LOCK in found and not _relocked(root, service, base):
        found.remove(LOCK)
    return found


def _relocked(root: Path, service: str, base: str) -> bool:
    before = _git(root, "show", f"{base}:{LOCK}") or ""
    return locked(before, service) != locked((root / LOCK).read_text(), service)


def _matches(pattern: str, file: str) -> bool:
    """GitHub's rule, for the three forms that are used here: a whole folder, the files in one, one file."""
    folder, _, last = pattern.rpartition("/")
    match last:
        case "**":
            return file.startswith(f"{folder}/")
        case "*":
            return file.rpartition("/")[0] == folder
        case _:
            return file == pattern


def _pin(package: Mapping[str, Any]) -> str:
    files = [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]
    return " ".join([package["name"], package.get("version", ""), *sorted(file.get("hash", "") for file in files)])


def _needs(package: Mapping[str, Any]) -> list[dict[str, Any]]:
    extras = package.get("optional-dependencies", {}).values()  # of all extras: one too many is not one too few
    return [*package.get("dependencies", []), *(needed for extra in extras for needed in extra)]


def _git(root: Path, *arguments: str) -> str | None:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else None
