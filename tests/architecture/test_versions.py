"""Which daprd it is changes nothing: no code of ours asks for its version, but where one is looked for."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.installation import OURS, REPOSITORY

LAUNCHER = "dapr/local/outrigger"
# One looks for a daprd, one builds one, and one looks for a Go of 1.24.
ALLOWED = {f"{LAUNCHER}/{name}.py" for name in ("runtime", "runtime_build", "golang")}
ASKING = re.compile(r"runtimeVersion|(?<![\d.])1\.(1[4-9]|[2-9]\d)")
DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
NAMES = {"version_of", "parse_version", "TESTED", "OLDEST"}


def asking(source: str) -> Iterator[str]:
    """Find what could tell one daprd from another: its number, where it says it, or the launcher's look at it."""
    tree = ast.parse(source)
    documented = [node for node in ast.walk(tree) if isinstance(node, DOCUMENTED)]
    docs = {id(node.body[0].value) for node in documented if node.body and isinstance(node.body[0], ast.Expr)}
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if id(node) not in docs and ASKING.search(text):
                yield text
            case ast.ImportFrom(module="outrigger.runtime", names=names):
                yield from (name.name for name in names if name.name in NAMES)
            case ast.Attribute(value=ast.Name(id="runtime"), attr=name) if name in NAMES:
                yield name
            case ast.Tuple(elts=[ast.Constant(value=1), ast.Constant(value=int(minor)), *_]) if minor >= 14:
                yield f"(1, {minor})"


def sources() -> list[Path]:
    files = (file for part in OURS for file in (REPOSITORY / part).rglob("*.py"))
    return sorted(file for file in files if "tests" not in file.parts)


def test_no_code_asks_which_daprd_it_is() -> None:
    found = {str(file.relative_to(REPOSITORY)): list(asking(file.read_text())) for file in sources()}
    assert len(found) > 100
    assert {name: what for name, what in found.items() if what and name not in ALLOWED} == {}
    assert all(found[name] for name in ALLOWED)


@pytest.mark.parametrize(
    "code",
    [
        'if metadata["runtimeVersion"] > old: pass',
        'if version.startswith("1.15"): pass',
        "if version >= (1, 16): pass",
        "from outrigger.runtime import version_of",
        "runtime.OLDEST",
    ],
)
def test_it_would_be_found(code: str) -> None:
    assert list(asking(code))
