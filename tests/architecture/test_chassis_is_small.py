"""The chassis stays something that one person can read: few modules, few lines, short functions."""

import ast
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).parents[2] / "apps" / "chassis" / "chassis"
OPERATIONS, RECONCILIATION = ROOT / "operations", ROOT / "reconciliation"
ENGINE_MODULES, ENGINE_LINES = 16, 2_501  # of code: blank lines, comments and docstrings are free
OPERATIONS_MODULES, OPERATIONS_LINES = 3, 360
RECONCILIATION_MODULES, RECONCILIATION_LINES = 5, 330
MEDIAN_FUNCTION = 10
LONGEST_FUNCTION = 40
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@pytest.fixture(scope="module")
def modules() -> list[Path]:
    return sorted(file for file in ROOT.rglob("*.py") if file.name != "__init__.py")


def code_lines(file: Path) -> int:
    source = file.read_text()
    nodes = [n for n in ast.walk(ast.parse(source)) if isinstance(n, DOCUMENTED) and ast.get_docstring(n)]
    docs = {line for node in nodes for line in range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1)}
    lines = enumerate(map(str.strip, source.splitlines()), start=1)
    return sum(1 for number, line in lines if line and not line.startswith("#") and number not in docs)


def functions(file: Path) -> Iterator[tuple[str, int]]:
    """Yield each function's name and its lines, the docstring not counted."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            doc = node.body[0] if ast.get_docstring(node) else None
            lines = (node.end_lineno or 0) - node.lineno + 1
            yield f"{file.name}:{node.name}", lines - ((doc.end_lineno or 0) - doc.lineno + 1 if doc else 0)


@pytest.mark.parametrize(
    ("folder", "few", "short"),
    [
        (ROOT, ENGINE_MODULES, ENGINE_LINES),
        (OPERATIONS, OPERATIONS_MODULES, OPERATIONS_LINES),
        (RECONCILIATION, RECONCILIATION_MODULES, RECONCILIATION_LINES),
    ],
    ids=["engine", "operations", "reconciliation"],
)
def test_few_modules_and_few_lines(modules: list[Path], folder: Path, few: int, short: int) -> None:
    lines = {file.name: code_lines(file) for file in modules if file.parent == folder}
    assert 0 < len(lines) <= few, sorted(lines)
    assert sum(lines.values()) <= short, lines


def test_short_functions(modules: list[Path]) -> None:
    sizes = [size for file in modules for _, size in functions(file)]
    assert median(sizes) < MEDIAN_FUNCTION


def test_no_long_function(modules: list[Path]) -> None:
    assert [found for file in modules for found in functions(file) if found[1] > LONGEST_FUNCTION] == []


def test_every_module_says_what_it_is_for(modules: list[Path]) -> None:
    assert [file.name for file in modules if not ast.get_docstring(ast.parse(file.read_text()))] == []
