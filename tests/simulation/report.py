"""Writes what a run has found between two marks of docs/reliability.md."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulation.campaign import Tally
    from simulation.hunt import Catch
    from simulation.planting import Bug

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"


def write(section: str, lines: Iterable[str]) -> None:
    """Replace what stands between `<!-- section -->` and `<!-- end of section -->`."""
    begin, end = f"<!-- {section} -->\n", f"<!-- end of {section} -->"
    text = PAGE.read_text(encoding="utf-8")
    head, _, rest = text.partition(begin)
    _, _, tail = rest.partition(end)
    PAGE.write_text(f"{head}{begin}" + "\n".join(lines) + f"\n{end}{tail}", encoding="utf-8")


def today() -> str:
    """Return the date of a run."""
    return datetime.now(UTC).strftime("%d %B %Y")


def campaign(tally: "Tally") -> Iterator[str]:
    """Show what a campaign has seen."""
    yield f"Run of {today()}, {len(tally.failed)} of {tally.seeds} seeds failed:"
    yield ""
    yield "```"
    yield from tally.told()
    yield "```"


def bugs(catches: Iterable[tuple["Bug", "Catch"]], seeds: int) -> Iterator[str]:
    """Make the table of planted bugs."""
    rows = list(catches)
    caught = [row for row in rows if row[1].caught]
    yield f"Run of {today()}: {len(caught)} of {len(rows)} caught within {seeds} seeds."
    yield ""
    yield "| where | what is not done any more | seeds until it was caught | by |"
    yield "| --- | --- | --- | --- |"
    for bug, catch in rows:
        by = _short(catch.told) if catch.caught else "**not caught**"
        yield f"| {bug.where} | {bug.name} | {catch.seeds if catch.caught else f'> {seeds}'} | {by} |"


def _short(told: str) -> str:
    words = [word if len(word) < 30 else "…" for word in told.replace("|", "/").split()]
    return " ".join(words)[:100]
