"""Which files are published, where they lie, and what belongs in them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gateway.main
from contracts import language
from published import asyncapi
from support.system import RULES

CONTRACTS = Path(__file__).parents[2] / "apps" / "contracts"
CURRENT, RELEASED = CONTRACTS / "schemas", CONTRACTS / "released"


def documents() -> dict[str, Any]:
    """Make everything anew, by file name."""
    schemas = {f"{name}.json": schema for name, schema in language.schemas().items()}
    heard = {name: rules for name, rules in RULES.items() if rules}
    return schemas | {"asyncapi.json": asyncapi.document(heard), "openapi.json": gateway.main.app.openapi()}


def written(document: Mapping[str, Any]) -> str:
    """Write a document as it is committed: the same bytes for the same content."""
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def texts(folder: Path) -> dict[str, str]:
    """Read what lies there, by file name."""
    return {file.relative_to(folder).as_posix(): file.read_text(encoding="utf-8") for file in folder.rglob("*.json")}


def released() -> dict[str, Any]:
    """Read the schemas that others hold us to, by their names in the language."""
    return {name.removesuffix(".json"): json.loads(text) for name, text in texts(RELEASED).items()}


def put(folder: Path, name: str, text: str) -> None:
    """Write a file, with the folders above it."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
