"""Ids that begin with the time, as RFC 9562 lays them out."""

import time
from uuid import RFC_4122

import pytest

from chassis.draft import new_id


def test_an_id_is_of_version_7_and_begins_with_the_milliseconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 0x017F22E279B0 / 1000)  # the moment of the RFC's own example
    drawn = {new_id() for _ in range(1000)}
    assert len(drawn) == 1000
    assert {(each.version, each.variant, each.hex[:12]) for each in drawn} == {(7, RFC_4122, "017f22e279b0")}


def test_later_ids_sort_behind_earlier_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter((1_800_000_000.0, 1_800_000_000.001, 1_800_000_060.0))
    monkeypatch.setattr(time, "time", lambda: next(moments))
    drawn = [str(new_id()) for _ in range(3)]
    assert drawn == sorted(drawn)
