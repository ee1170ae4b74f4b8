"""The Makefile says what it does: in a recipe a variable has the value that was given to it last."""

import re
from collections import Counter

from support.installation import REPOSITORY


def test_no_variable_is_given_two_values() -> None:
    names = re.findall(r"^(\w+) [:?]?=", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    assert names
    assert [name for name, count in Counter(names).items() if count > 1] == []
