"""Each walk goes wrong once its defence is taken away: a test that cannot fail would show nothing."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest
import test_sweeps
import test_walks

from chassis import service
from chassis.reconciliation import cursor, journals, sweeper, walker
from chassis.reconciliation.cursor import Origin
from chassis.reconciliation.walker import Page, Walker, Watch
from chassis.work import Redrive

Patch = Callable[[pytest.MonkeyPatch], None]


def patched(target: Any, name: str, value: Any) -> Patch:
    return lambda monkeypatch: monkeypatch.setattr(target, name, value)


def _first_lane_only(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Walker._ask

    async def ask(self: Walker, producer: str, method: str, wish: Any) -> Any:
        told = await original(self, producer, method, wish)
        return {**told, "tails": told["tails"][:1]} if "tails" in told else told

    monkeypatch.setattr(Walker, "_ask", ask)


def _all_types(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Walker._page

    async def page(self: Walker, place: Any, cursor: Any, after: int, upto: int) -> Page | None:
        types = {**cursor["types"], "Returned": {}, "Sold": {}}
        return await original(self, place, {**cursor, "types": types}, after, upto)

    monkeypatch.setattr(Walker, "_page", page)


def _forgets_where_types_were(stored: Any, wanted: dict[str, bool], tails: Any) -> dict[str, Any]:
    if stored and stored["types"].keys() == wanted.keys():
        return {"lanes": stored["lanes"], "types": stored["types"]}
    return {"lanes": {}, "types": {kind: {} for kind in wanted}}


def _skips_gaps(monkeypatch: pytest.MonkeyPatch) -> None:
    async def page(self: Walker, place: Any, cursor: Any, after: int, upto: int) -> Page | None:
        records: list[dict[str, Any]] = []
        for number in range(after, upto):
            wish = {"lane": place.lane, "after": number, "upto": number + 1}
            records += (await self._ask(place.producer, journals.RECORDS, wish))["records"]
        return Page(upto, {event: r["number"] for r in records for event, _ in r["events"]})

    monkeypatch.setattr(Walker, "_page", page)


async def _no_check(self: Walker, events: Iterable[str]) -> set[str]:
    return set(events)


def _walks_what_is_not_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    original = walker.including

    def including(stored: Any, wanted: Any, tails: Any) -> dict[str, Any]:
        cursor = original(stored, wanted, tails)

        class Types(dict[str, Any]):
            def keys(self) -> Any:
                return super().keys() & wanted.keys()

        return {**cursor, "types": Types(cursor["types"])}

    monkeypatch.setattr(walker, "including", including)


def _covers_new_types_too(stored: Any, wanted: dict[str, bool], _tails: Any) -> dict[str, Any]:
    return {"lanes": stored["lanes"] if stored else {}, "types": {kind: {} for kind in wanted}}


class _Hasty(Watch):
    def noted(self, tail: int, now: float, patience: float) -> int:
        super().noted(tail, now, patience)
        return tail


def _by_the_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    original = cursor.origin

    def origin(text: str | None, kind: str) -> Origin | None:
        found = original(text, kind)
        return found and replace(found, swept=cursor.name("shop", str(text).split("/")[1]))

    monkeypatch.setattr(service, "origin", origin)


async def _always(_self: Walker) -> bool:
    return True


MUTATIONS: dict[str, Patch] = {
    "what_the_broker_brings_is_not_fetched": patched(Walker, "_missing", _no_check),
    "a_broker_that_loses_everything_delays_and_loses_nothing": patched(Watch, "stuck", lambda *_: False),
    "what_is_lost_among_much_that_comes_is_found": patched(Page, "lost", lambda *_: ([], False)),
    "it_is_found_while_more_and_more_comes": patched(Watch, "noted", lambda *_: 0),
    "what_is_late_in_an_overload_is_not_fetched_as_well": patched(Watch, "stuck", lambda *_: True),
    "only_what_is_handled_is_fetched": _all_types,
    "numbers_that_begin_again_are_another_journal": patched(cursor, "name", lambda producer, _: f"cursor:{producer}"),
    "a_new_replica_of_the_producer_has_a_lane_that_is_found": _first_lane_only,
    "a_missing_record_ends_the_walk": _skips_gaps,
    "a_type_that_is_handled_since_lately_gets_its_history_and_nothing_comes_twice": patched(
        walker, "including", _forgets_where_types_were
    ),
    "who_wants_no_history_gets_what_comes_from_now_on": patched(
        Walker, "producers", lambda _: {"shop": {"Sold": True}}
    ),
    "an_older_version_skips_nothing_that_a_newer_one_handles": _walks_what_is_not_its_own,
    "one_replica_walks_and_another_goes_on_when_it_is_gone": patched(Walker, "_is_its_turn", _always),
    "marks_go_when_the_walk_has_passed_them_for_long": patched(sweeper, "Watch", _Hasty),
    "who_begins_anew_waits_anew": patched(sweeper, "Watch", _Hasty),
    "what_comes_again_after_that_is_dropped": patched(Origin, "over", lambda *_: False),
    "what_comes_again_between_covering_and_deleting_is_dropped": patched(Origin, "over", lambda *_: False),
    "the_mark_of_a_dead_letter_stays_until_it_is_redriven": patched(sweeper, "needless", lambda _: True),
    "what_another_version_could_read_meanwhile_is_not_redriven": patched(Redrive, "_due", lambda *_: True),
    "a_type_that_is_handled_since_lately_gets_its_history_and_the_others_stay_known": patched(
        cursor, "including", _covers_new_types_too
    ),
    "who_wants_no_history_misses_nothing_that_is_on_its_way": _by_the_cursor,
    "events_that_fill_more_than_an_answer_come_in_several": patched(journals, "ANSWER_BYTES", 10**9),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_goes_wrong_without_its_defence(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    MUTATIONS[name](monkeypatch)
    with pytest.raises(AssertionError):
        getattr(test_sweeps if hasattr(test_sweeps, f"test_{name}") else test_walks, f"test_{name}")()
