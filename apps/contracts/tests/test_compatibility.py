"""Which change of a released version goes unnoticed by others, and which does not."""

from typing import Any

import pytest

from contracts.compatibility import OPEN, breaks

NAME = "shop/Sold-1.0"
DO = "take that back, or make it version 2.0 with an upcaster from 1.0: see docs/contracts.md"


def sold(required: tuple[str, ...] = ("sku", "lines"), **changes: Any) -> dict[str, Any]:
    line = {"type": "object", "properties": {"pieces": {"type": "integer", "minimum": 1}}, "required": ["pieces"]}
    fields = {
        "sku": {"type": "string", "maxLength": 64},
        "way": {"enum": ["shop", "post"], "type": "string"},
        "cause": {"type": "string", OPEN: ["a", "b"]},
        "at": {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}], "default": None},
        "lines": {"type": "array", "maxItems": 50, "items": {"$ref": "#/$defs/Line"}},
    }
    line["properties"] |= changes.pop("line", {})
    kept = {name: schema for name, schema in (fields | changes).items() if schema is not None}
    return {"type": "object", "properties": kept, "required": list(required), "$defs": {"Line": line}}


@pytest.mark.parametrize(
    "now",
    [
        sold(),
        sold(note={"type": "string"}),
        sold(line={"note": {"type": "string"}}),
        sold(cause={"type": "string", OPEN: ["a", "b", "c"]}),
        sold(sku={"type": "string", "maxLength": 64, "description": "other words", "title": "Article"}),
    ],
    ids=["the same", "a new optional field", "one deeper", "an open list grows", "other words"],
)
def test_what_others_do_not_notice(now: dict[str, Any]) -> None:
    assert breaks({NAME: sold()}, {NAME: now}) == []


def test_a_new_event_and_a_new_version_disturb_nobody() -> None:
    assert breaks({NAME: sold()}, {NAME: sold(), "shop/Sold-2.0": sold(sku=None), "shop/Lent-1.0": sold()}) == []


@pytest.mark.parametrize(
    ("now", "change"),
    [
        (sold(sku=None), "sku was removed, and readers look for it"),
        (sold(way=None), "way was removed, and readers look for it"),
        (sold(sku={"type": "integer", "maxLength": 64}), "sku: type was string and is integer"),
        (sold(("sku", "lines", "by"), by={"type": "string"}), "by is new and required, and old facts lack it"),
        (sold(("sku", "lines", "way")), "way is required now, and old facts may lack it"),
        (sold(("lines",)), "sku may be missing now, and readers require it"),
        (sold(way={"enum": ["shop"], "type": "string"}), "way is never post any more, and old facts may be"),
        (
            sold(way={"enum": ["shop", "post", "drone"], "type": "string"}),
            "way may also be drone, and readers refuse that",
        ),
        (sold(way={"type": "string"}), "way: enum was ['shop', 'post'] and is none"),
        (sold(cause={"type": "string", OPEN: ["a"]}), "cause is never b any more, and old facts may be"),
        (sold(sku={"type": "string", "maxLength": 32}), "sku: maxLength was 64 and is 32"),
        (sold(sku={"type": "string", "maxLength": 99}), "sku: maxLength was 64 and is 99"),
        (sold(sku={"type": "string", "maxLength": 64, "pattern": "^x"}), "sku: pattern was none and is ^x"),
        (sold(line={"pieces": {"type": "integer", "minimum": 2}}), "lines[].pieces: minimum was 1 and is 2"),
        (sold(lines={"type": "array", "maxItems": 50}), "lines has another type than before"),
        (sold(at={"type": "string", "default": None}), "at has another type than before"),
        (
            sold(at={"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}], "default": None}),
            "at: format was date-time and is date",
        ),
    ],
)
def test_what_others_would_not_survive_is_one_line_that_says_what_to_do(now: dict[str, Any], change: str) -> None:
    assert f"{NAME}: {change}; {DO}" in breaks({NAME: sold()}, {NAME: now})


def test_a_version_that_lies_in_journals_is_never_dropped() -> None:
    (line,) = breaks({NAME: sold()}, {})
    assert line == f"{NAME}: is gone, and journals still hold it; keep its class among `older`: see docs/contracts.md"


def test_the_envelope_has_no_other_version_to_go_to() -> None:
    (line,) = breaks({"envelope": sold()}, {"envelope": sold(way=None)})
    assert line.startswith("envelope: way was removed, and readers look for it; everybody reads it")
