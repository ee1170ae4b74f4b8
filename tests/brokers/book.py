"""What a run of the conformance suite saw, by behaviour and broker; and the table of docs/brokers.md made of it."""

import json
import os
import platform
import time
from typing import Any

from servers.engine import used
from support.installation import REPOSITORY

PAGE = REPOSITORY / "docs" / "brokers.md"
KEPT = REPOSITORY / ".outrigger" / "brokers.json"
BEGIN, END = "<!-- conformance -->", "<!-- /conformance -->"


class Book:
    """Filled by the tests."""

    def __init__(self) -> None:
        self.notes: dict[str, dict[str, str]] = {}
        self.figures: dict[str, dict[str, float]] = {}

    def note(self, broker: str, behaviour: str, seen: str) -> None:
        """Note what a broker did."""
        self.notes.setdefault(behaviour, {})[str(broker)] = seen

    def measure(self, broker: str, what: str, figure: float) -> None:
        """Note a figure; the page shows it as a share of the best."""
        self.figures.setdefault(what, {})[str(broker)] = figure

    def keep(self) -> None:
        """Write it down; what this run did not look at stays as it was seen last."""
        kept = json.loads(KEPT.read_text()) if KEPT.is_file() else {}
        for kind, seen in (("notes", self.notes), ("figures", self.figures)):
            for name, of in seen.items():
                kept.setdefault(kind, {}).setdefault(name, {}).update(of)
        KEPT.parent.mkdir(parents=True, exist_ok=True)
        KEPT.write_text(json.dumps(kept))


def table(notes: dict[str, dict[str, str]], figures: dict[str, dict[str, float]], brokers: list[str]) -> str:
    """Draw the table."""
    rows = [[behaviour, *(seen.get(broker, "not run") for broker in brokers)] for behaviour, seen in notes.items()]
    rows += [[what, *(_share(of, broker) for broker in brokers)] for what, of in figures.items()]
    lines = [["", *brokers], ["---"] * (len(brokers) + 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _share(figures: dict[str, float], broker: str) -> str:
    if broker not in figures:
        return "not run"
    best = max(figures.values())
    return f"{figures[broker]:,.0f} ({100 * figures[broker] / best:.0f} %)"


def written(page: str, kept: dict[str, Any], brokers: list[str]) -> str:
    """Return the page with the table of a run in its place."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    when = time.strftime("%d %B %Y")
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    where = f"{machine}, other work beside it; brokers in {used()}"
    drawn = table(kept["notes"], kept["figures"], brokers)
    return f"{before}{BEGIN}\nRun of {when}, {where}:\n\n{drawn}\n{END}{after}"


def noted(page: str) -> dict[str, list[str]]:
    """Read the behaviours of a page's table, without figures and date."""
    inside = page.partition(BEGIN)[2].partition(END)[0]
    rows = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in inside.splitlines() if "|" in line]
    return {row[0]: row[1:] for row in rows[2:] if "%" not in "".join(row)}
