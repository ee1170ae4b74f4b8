"""The table of docs/brokers.md has every behaviour that the conformance suite notes, seen on every broker."""

import re

from brokers.book import PAGE, noted, written
from outrigger.choice import Broker
from support.installation import REPOSITORY

SUITE = REPOSITORY / "tests" / "brokers"
NOTED = re.compile(r'book\.note\(\s*(?:self\.)?broker,\s*"([^"]+)"')


def behaviours() -> set[str]:
    texts = [(SUITE / name).read_text() for name in ("contract.py", "test_outage.py")]
    return {found for text in texts for found in NOTED.findall(text)}


def test_every_behaviour_stands_there_for_every_broker() -> None:
    rows = noted(PAGE.read_text())
    assert set(rows) == behaviours()
    assert {len(cells) for cells in rows.values()} == {len(Broker)}
    assert not [behaviour for behaviour, cells in rows.items() if "not run" in cells]


def test_another_answer_is_another_row_and_another_figure_is_not() -> None:
    kept = {"notes": {"it rains": {"redis": "wet"}}, "figures": {"drops": {"redis": 9.0, "kafka": 3.0}}}
    page = written("<!-- conformance --><!-- /conformance -->", kept, ["redis", "kafka"])
    assert "| drops | 9 (100 %) | 3 (33 %) |" in page
    assert noted(page) == {"it rains": ["wet", "not run"]}
