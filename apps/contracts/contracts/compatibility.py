"""Whether facts and readers of a released version still understand each other: pure, over JSON Schemas.

A version is read in both directions. Journals hold old facts, so what was allowed stays allowed; and readers in use
check what they read, so what they would refuse is not said to them: a wider enum or bound breaks them as a narrower
one breaks old facts. A list that is meant to grow says so from the start (`x-extensible-enum`). New events and new
optional fields are welcome, for readers pass over what they do not know.
"""

from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]

GUIDE = "docs/contracts.md"
OPEN = "x-extensible-enum"
_STRUCTURE = {"$defs", "$ref", "$schema", "anyOf", "enum", "items", "properties", "required", OPEN}
_WORDS = {"title", "description", "examples"}


def breaks(released: Mapping[str, Schema], current: Mapping[str, Schema]) -> list[str]:
    """Tell, one line each and sorted, what others who know only `released` would not survive, and what to do."""
    found = []
    for name, old in released.items():
        if name not in current:
            found.append(f"{name}: is gone, and journals still hold it; keep its class among `older`: see {GUIDE}")
        else:
            found += [f"{name}: {change}; {_advice(name)}" for change in _Pair(old, current[name]).changes()]
    return sorted(found)


def _advice(name: str) -> str:
    event, _, version = name.rpartition("-")
    if not event:
        return f"everybody reads it and it has no versions, so take that back: see {GUIDE}"
    major = int(version.partition(".")[0])
    return f"take that back, or make it version {major + 1}.0 with an upcaster from {version}: see {GUIDE}"


class _Pair:
    """A schema as it was released and as it is now."""

    def __init__(self, old: Schema, new: Schema) -> None:
        self._old, self._new = old, new

    def changes(self) -> Iterator[str]:
        yield from self._compare(self._old, self._new, "")

    def _compare(self, old: Schema, new: Schema, path: str) -> Iterator[str]:
        old, new = _resolved(old, self._old), _resolved(new, self._new)
        yield from _rules(old, new, path)
        yield from _values(old, new, path)
        yield from self._fields(old, new, path)
        if "items" in old and "items" in new:
            yield from self._compare(old["items"], new["items"], f"{path}[]")
        before, now = old.get("anyOf", ()), new.get("anyOf", ())
        if len(before) != len(now) or ("items" in old) != ("items" in new):
            yield f"{path or 'the whole'} has another type than before"
        else:
            for left, right in zip(before, now, strict=True):
                yield from self._compare(left, right, path)

    def _fields(self, old: Schema, new: Schema, path: str) -> Iterator[str]:
        before, now = old.get("properties", {}), new.get("properties", {})
        needed, needs = set(old.get("required", ())), set(new.get("required", ()))
        for field in sorted(before.keys() | now.keys()):
            where = f"{path}.{field}" if path else field
            if field not in now:
                yield f"{where} was removed, and readers look for it"
            elif field not in before:
                if field in needs:
                    yield f"{where} is new and required, and old facts lack it"
            else:
                if field in needs - needed:
                    yield f"{where} is required now, and old facts may lack it"
                if field in needed - needs:
                    yield f"{where} may be missing now, and readers require it"
                yield from self._compare(before[field], now[field], where)


def _resolved(schema: Schema, root: Schema) -> Schema:
    """Follow a reference to the document's own definitions; what stands beside it holds too."""
    if "$ref" not in schema:
        return schema
    beside = {key: value for key, value in schema.items() if key != "$ref"}
    return {**root["$defs"][schema["$ref"].rpartition("/")[2]], **beside}


def _rules(old: Schema, new: Schema, path: str) -> Iterator[str]:
    """Compare types, bounds, patterns and defaults: whatever is written with one keyword."""
    for keyword in sorted((old.keys() | new.keys()) - _STRUCTURE - _WORDS):
        before, now = old.get(keyword, "none"), new.get(keyword, "none")
        if before != now:
            yield f"{path or 'the whole'}: {keyword} was {before} and is {now}"


def _values(old: Schema, new: Schema, path: str) -> Iterator[str]:
    """Compare lists of values; only an open one may grow."""
    for keyword in ("enum", OPEN):
        before, now = old.get(keyword), new.get(keyword)
        if (before is None) != (now is None):
            yield f"{path}: {keyword} was {before or 'none'} and is {now or 'none'}"
            continue
        gone = sorted(set(before or ()) - set(now or ()), key=str)
        more = sorted(set(now or ()) - set(before or ()), key=str)
        if gone:
            yield f"{path} is never {', '.join(map(str, gone))} any more, and old facts may be"
        if more and keyword == "enum":
            yield f"{path} may also be {', '.join(map(str, more))}, and readers refuse that"
