"""Rendering `components/` into `.outrigger/resources`, which the sidecars of a run watch.

Only addresses that a run chooses are changed; all else is copied as it is written. A swap of broker or store rewrites
the rendered files, so `git status` stays clean.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from outrigger.errors import LauncherError

Addresses = Mapping[tuple[str, str], str]
"""Which value a run gives: (kind of resource, name of the value) -> value. See `resource_kinds`, and `TRACES`."""

TRACES = ("Configuration", "tracing.zipkin.endpointAddress")


def render(folders: Sequence[Path], target: Path, addresses: Addresses) -> list[Path]:
    """Write the YAML files of `folders` to `target` with this run's addresses; other files there are removed.

    Two files of one name are refused: one would silently hide the other.
    """
    sources = _sources(folders)
    target.mkdir(parents=True, exist_ok=True)
    for stale in set(target.iterdir()) - {target / name for name in sources}:
        stale.unlink()
    return [_write(target / name, render_text(source.read_text(), addresses)) for name, source in sources.items()]


def replace_rendered(folder: Path, target: Path, addresses: Addresses) -> None:
    """Put the files of one folder in the places of those of their names; sidecars that watch `target` reload these."""
    for name, source in _sources([folder]).items():
        _write(target / name, render_text(source.read_text(), addresses))


def render_text(text: str, addresses: Addresses) -> str:
    """Put the addresses into the resources of one file."""
    documents = [document for document in yaml.safe_load_all(text) if document]
    for document in documents:
        _readdress(document, addresses)
    return yaml.safe_dump_all(documents, sort_keys=False, width=120)


def render_config(source: Path, target: Path, addresses: Addresses) -> Path:
    """Write a Configuration with the address of this run's Zipkin, or with none: nobody then waits for one."""
    document = yaml.safe_load(source.read_text())
    tracing = document["spec"].get("tracing", {})
    tracing.pop("zipkin", None)
    if address := addresses.get(TRACES):
        tracing["zipkin"] = {"endpointAddress": address}
    target.mkdir(parents=True, exist_ok=True)
    return _write(target / source.name, yaml.safe_dump(document, sort_keys=False, width=120))


def resource_kinds(folders: Iterable[Path]) -> set[str]:
    """Return what there is: components by type, as `pubsub.redis`; endpoints by name, as `HTTPEndpoint/bank`."""
    texts = (source.read_text() for source in _sources(folders).values())
    documents = (document for text in texts for document in yaml.safe_load_all(text) if document)
    return {kind for document in documents if (kind := _kind(document))}


def _sources(folders: Iterable[Path]) -> dict[str, Path]:
    sources: dict[str, Path] = {}
    for folder in folders:
        if not folder.is_dir():
            raise LauncherError(f"resourcesPaths names {folder}, which is no folder.")
        for source in sorted((*folder.glob("*.yaml"), *folder.glob("*.yml"))):
            if other := sources.get(source.name):
                raise LauncherError(f"{source} and {other} have one name: rename one, a run needs both.")
            sources[source.name] = source
    return sources


def _kind(document: dict[str, Any]) -> str | None:
    match document:
        case {"kind": "Component", "spec": {"type": str(kind)}}:
            return kind
        case {"kind": "HTTPEndpoint", "metadata": {"name": str(name)}}:
            return f"HTTPEndpoint/{name}"
    return None


def _readdress(document: dict[str, Any], addresses: Addresses) -> None:
    kind = _kind(document)
    if kind is None:
        return
    spec = document["spec"]
    for item in spec.get("metadata", []):
        if (kind, item["name"]) in addresses:
            item["value"] = addresses[kind, item["name"]]
    if (kind, "baseUrl") in addresses:
        spec["baseUrl"] = addresses[kind, "baseUrl"]


def _write(path: Path, text: str) -> Path:
    """Replace the file in one step: a sidecar that watches the folder must not read half of it."""
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(f"# Rendered by outrigger; changes here last until the next `up`.\n{text}")
    draft.replace(path)
    return path
