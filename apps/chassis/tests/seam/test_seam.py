"""What the engine relies on, shown on both sidecars. Where they differ, the in-memory one is wrong."""

import asyncio
from contextlib import nullcontext
from typing import Any

import pytest

from chassis.daprd import KEYS_PER_READ
from chassis.sidecar import Delete, ETagMismatch, Operation, Put, Refused, Unanswered, Unreachable
from chassis.wire import BODY_BYTES

from .bench import TOO_LARGE_FOR_BROKER, Bench, entry

STRANGE_ETAGS = ["c27f0bd2-1b3e-4d67-8e4c-95b2fbd1c0aa", "not an etag", "0"]


class TestTransactions:
    async def test_all_operations_are_applied(self, bench: Bench) -> None:
        old = await bench.stored("old")
        await bench.sidecar.transact([Put("a", 1), Put("b", {"n": 2}, insert=True), Delete("old", etag=old.etag)])
        found = await bench.sidecar.read(["a", "b", "old"])
        assert {key: stored.value for key, stored in found.items()} == {"a": 1, "b": {"n": 2}}

    @pytest.mark.parametrize("etag", STRANGE_ETAGS)
    @pytest.mark.parametrize("there", [True, False])
    async def test_a_bad_etag_applies_nothing(self, bench: Bench, etag: str, *, there: bool) -> None:
        if there:
            await bench.stored("moved", "before")
        await bench.stored("gone", "before")
        with pytest.raises(ETagMismatch):
            await bench.sidecar.transact(
                [Put("new", 1, insert=True), Delete("gone"), Put("moved", "after", etag=etag), Put("last", 1)]
            )
        found = await bench.sidecar.read(["new", "gone", "moved", "last"])
        assert {key: stored.value for key, stored in found.items()} == dict.fromkeys(
            ["gone", "moved"] if there else ["gone"], "before"
        )

    async def test_an_etag_is_good_for_one_write(self, bench: Bench) -> None:
        first = await bench.stored("a", "same")
        await bench.sidecar.transact([Put("a", "same", etag=first.etag)])
        with pytest.raises(ETagMismatch):
            await bench.sidecar.transact([Put("a", "same", etag=first.etag)])

    async def test_a_bad_etag_is_noticed_in_a_single_operation(self, bench: Bench) -> None:
        await bench.stored("a", "before")
        for operation in (Put("a", "after", etag="0"), Put("a", "after", insert=True), Delete("a", etag="0")):
            with pytest.raises(ETagMismatch):
                await bench.sidecar.transact([operation])
        assert await bench.value("a") == "before"

    async def test_insert_only_succeeds_once(self, bench: Bench) -> None:
        attempts = [bench.sidecar.transact([Put("a", n, insert=True), Put(f"by-{n}", n)]) for n in range(8)]
        outcomes = await asyncio.gather(*attempts, return_exceptions=True)
        won = [n for n, outcome in enumerate(outcomes) if outcome is None]
        assert len(won) == 1
        assert [type(each) for each in outcomes if each is not None] == [ETagMismatch] * 7
        found = await bench.sidecar.read(["a", *(f"by-{n}" for n in range(8))])
        assert {key: stored.value for key, stored in found.items()} == {"a": won[0], f"by-{won[0]}": won[0]}

    async def test_an_empty_etag_means_insert(self, bench: Bench) -> None:
        await bench.sidecar.transact([Put("a", 1, etag="")])
        with pytest.raises(ETagMismatch):
            await bench.sidecar.transact([Put("a", 2, etag="")])
        assert await bench.value("a") == 1

    async def test_a_null_is_there(self, bench: Bench) -> None:
        assert (await bench.stored("a", None)).etag
        with pytest.raises(ETagMismatch):
            await bench.sidecar.transact([Put("a", 1, insert=True)])

    async def test_deleting_what_is_absent(self, bench: Bench) -> None:
        await bench.sidecar.transact([Delete("absent"), Put("a", 1)])
        with pytest.raises(ETagMismatch):
            await bench.sidecar.transact([Delete("absent", etag=STRANGE_ETAGS[0]), Put("a", 2)])
        assert await bench.value("a") == 1

    @pytest.mark.parametrize(
        ("operations", "left"),
        [
            ([Put("a", 1), Put("a", 2)], 2),
            ([Put("a", 1), Delete("a")], None),
            ([Delete("a"), Put("a", 2, insert=True)], 2),
            ([], "before"),
        ],
    )
    async def test_later_operations_see_earlier_ones(
        self, bench: Bench, operations: list[Operation], left: object
    ) -> None:
        await bench.stored("a", "before")
        await bench.sidecar.transact(operations)
        assert await bench.value("a") == left

    async def test_one_key_cannot_be_inserted_twice_in_a_transaction(self, bench: Bench) -> None:
        with pytest.raises(ETagMismatch):
            await bench.sidecar.transact([Put("a", 1, insert=True), Put("a", 2, insert=True)])
        assert await bench.value("a") is None


class TestReads:
    async def test_missing_and_repeated_keys(self, bench: Bench) -> None:
        await bench.sidecar.transact([Put("a", 1), Put("b", 2)])
        found = await bench.sidecar.read(["b", "missing", "a", "b", "a", "missing"])
        assert {key: stored.value for key, stored in found.items()} == {"a": 1, "b": 2}

    async def test_no_keys(self, bench: Bench) -> None:
        assert await bench.sidecar.read([]) == {}

    async def test_more_keys_than_one_request_takes(self, bench: Bench) -> None:
        names = [f"{n:0100}" for n in range(KEYS_PER_READ + 2)]
        await bench.sidecar.transact([Put(name, n) for n, name in enumerate(names)])
        found = await bench.sidecar.read(names)
        assert [found[name].value for name in names] == list(range(len(names)))


class TestTimeToLive:
    """SQLite counts whole seconds, so one of 1 could be over at once."""

    async def test_expired_is_absent_and_may_be_inserted(self, bench: Bench) -> None:
        await bench.stored("a", "old", ttl=2)
        await bench.expired("a", seconds=2)
        await bench.sidecar.transact([Put("a", "new", insert=True)])
        assert await bench.value("a") == "new"

    async def test_the_etag_of_what_expired_allows_no_write_but_a_delete(self, bench: Bench) -> None:
        old = await bench.stored("a", "old", ttl=2)
        await bench.expired("a", seconds=2)
        with pytest.raises(ETagMismatch):
            await bench.sidecar.transact([Put("a", "new", etag=old.etag)])
        await bench.sidecar.transact([Delete("a", etag=old.etag)])

    async def test_it_does_not_expire_early_and_a_plain_write_ends_it(self, bench: Bench) -> None:
        await bench.stored("short", ttl=2)
        await bench.stored("long", "there", ttl=60)
        await bench.stored("kept", "old", ttl=2)
        await bench.stored("kept", "there")
        await bench.expired("short", seconds=2)
        assert (await bench.value("long"), await bench.value("kept")) == ("there", "there")


class TestKeysAndValues:
    async def test_daprs_separator_is_refused(self, bench: Bench) -> None:
        with pytest.raises(Refused):
            await bench.sidecar.transact([Put("a", 1), Put("b||c", 1)])
        with pytest.raises(Refused):
            await bench.sidecar.read(["a", "b||c"])
        assert await bench.value("a") is None

    async def test_strange_keys_stay_distinct(self, bench: Bench) -> None:
        names = [
            "a/b",
            "a%2Fb",
            "a%252Fb",
            "ä",
            "a\u0308",
            "日本 ",
            "%",
            "'; --",
            '"',
            "|",
            "?x=1#y",
            "🛶",
            "a",
            "A",
            "a\\b",
        ]
        await bench.sidecar.transact([Put(name, n) for n, name in enumerate(names)])
        found = await bench.sidecar.read(names)
        assert {name: found[name].value for name in names} == {name: n for n, name in enumerate(names)}

    @pytest.mark.parametrize(
        "value",
        [
            2**53 - 1,
            -(2**53 - 1),
            0,
            0.1,
            True,
            "",
            "<&> \u2028 \x00 🛶",
            [],
            {},
            {"z": [1, {"ü%||": None}], "a": -0.5},
        ],
    )
    async def test_values_survive(self, bench: Bench, value: object) -> None:
        assert (await bench.stored("a", value)).value == value

    @pytest.mark.parametrize(("value", "kept"), [(2**53 + 1, 2**53), (2**63 - 1, 9223372036854776000), (1e300, 1e300)])
    async def test_large_integers_lose_digits(self, bench: Bench, value: float, kept: float) -> None:
        assert (await bench.stored("a", value)).value == kept

    async def test_members_come_back_sorted(self, bench: Bench) -> None:
        assert list((await bench.stored("a", {"z": 1, "a": 2, "é": 3, "Z": 4})).value) == ["Z", "a", "z", "é"]

    @pytest.mark.parametrize("value", [{1, 2}, "\ud800", 2**70, {1: 1}])
    async def test_what_is_not_json_is_refused(self, bench: Bench, value: Any) -> None:
        with pytest.raises(Refused):
            await bench.sidecar.transact([Put("a", value)])
        with pytest.raises(Refused):
            await bench.sidecar.publish("t", [entry("1"), entry("2", key="\ud800")])

    async def test_over_four_mebibytes_is_refused(self, bench: Bench) -> None:
        room = BODY_BYTES - 1000
        await bench.sidecar.transact([Put("fits", "x" * room)])
        with pytest.raises(Refused):
            await bench.sidecar.transact([Put("a", 1), Put("too large", "x" * BODY_BYTES)])
        with pytest.raises(Refused):
            await bench.sidecar.publish("t", [entry(str(n), size=BODY_BYTES // 2) for n in range(3)])
        assert (await bench.value("a"), len(await bench.value("fits"))) == (None, room)


class TestLateCommits:
    async def test_a_commit_may_land_after_it_timed_out_and_then_lands_whole(self, bench: Bench) -> None:
        """In memory it always does, as on daprd 1.14; 1.18 gives it up with its client."""
        head = await bench.stored("head", 1)
        async with bench.stalled():
            with pytest.raises(Unanswered):
                await bench.impatient.transact([Put("head", 2, etag=head.etag), Put("record", 2, insert=True)])
            assert (await bench.value("head"), await bench.value("record")) == (1, None)
        found = (await bench.value("head"), await bench.value("record"))
        assert found in {(2, 2), (1, None)}
        with pytest.raises(ETagMismatch) if found == (2, 2) else nullcontext():  # and who wants to fence it learns so
            await bench.sidecar.transact([Put("head", "fence", etag=head.etag)])

    async def test_a_late_commit_dies_if_the_head_was_rewritten_first(self, bench: Bench) -> None:
        head = await bench.stored("head", 1)
        async with bench.stalled() as rewrite:
            with pytest.raises(Unanswered):
                await bench.impatient.transact([Put("record", 2, insert=True), Put("head", 2, etag=head.etag)])
            rewrite("head", "fence")
        assert (await bench.value("head"), await bench.value("record")) == ("fence", None)


class TestPublishing:
    async def test_all_are_taken(self, bench: Bench) -> None:
        assert await bench.sidecar.publish("orders", [entry(str(n), key=f"order-{n}") for n in range(20)]) == set()
        assert await bench.sidecar.publish("orders", []) == set()

    async def test_each_entry_has_its_own_fate(self, bench: Bench) -> None:
        """The broker takes at most 1 MiB an entry: one is refused, its neighbours are taken."""
        entries = [entry("1"), entry("2", size=TOO_LARGE_FOR_BROKER), entry("3"), entry("4")]
        assert await bench.sidecar.publish("orders", entries) == {"2"}

    @pytest.mark.parametrize("names", [["1", "1"], ["1", ""]])
    async def test_entries_need_names_of_their_own(self, bench: Bench, names: list[str]) -> None:
        with pytest.raises(Refused):
            await bench.sidecar.publish("orders", [entry(name) for name in names])


class TestBindings:
    """The output binding `mail`, a folder: what is written, under which name."""

    @pytest.mark.parametrize("data", ["Grüße 🛶\r\n", '<&> \u2028 \x00 \x7f \x08 "x" \\ \n', "x" * 2**21 + ".", ""])
    async def test_the_data_is_the_file(self, bench: Bench, data: str) -> None:
        await bench.sidecar.bind("mail", "create", data, {"fileName": "a b ü%2F~.eml"})
        assert bench.files() == {"a b ü%2F~.eml": data.encode()}

    async def test_a_repetition_replaces_the_file(self, bench: Bench) -> None:
        for data in ("a longer one.", "short."):
            await bench.sidecar.bind("mail", "create", data, {"fileName": "a"})
        assert bench.files() == {"a": b"short."}

    async def test_what_happens_to_be_base64_is_decoded(self, bench: Bench) -> None:
        """A trap of bindings.localstorage; a mail is none, for no base64 has a colon."""
        for name, data in (("a", "YWJj"), ("b", "YW\r\nJj"), ("c", "YWJ"), ("d", "YWJj: c")):
            await bench.sidecar.bind("mail", "create", data, {"fileName": name})
        assert bench.files() == {"a": b"abc", "b": b"abc", "c": b"YWJ", "d": b"YWJj: c"}

    @pytest.mark.parametrize(
        ("name", "file"),
        [
            ("../x", "x"),
            ("a/../../x", "x"),
            ("/etc/x", "etc/x"),
            ("sub/x", "sub/x"),
            ("created-..", "created-.."),
            ("x" * 255, "x" * 255),
        ],
    )
    async def test_no_name_leads_out_of_the_folder(self, bench: Bench, name: str, file: str) -> None:
        await bench.sidecar.bind("mail", "create", "here.", {"fileName": name})
        assert bench.files() == {file: b"here."}

    @pytest.mark.parametrize("name", ["..", ".", "/", "x" * 256])
    async def test_a_name_that_is_none_proves_nothing(self, bench: Bench, name: str) -> None:
        with pytest.raises(Unanswered):
            await bench.sidecar.bind("mail", "create", "here.", {"fileName": name})
        assert bench.files() == {}

    async def test_an_unknown_binding_or_operation_proves_nothing(self, bench: Bench) -> None:
        for binding, operation in (("nobody", "create"), ("mail", "fly")):
            with pytest.raises(Unanswered):
                await bench.sidecar.bind(binding, operation, "here.", {"fileName": "x"})
        assert bench.files() == {}

    async def test_what_does_not_travel_is_refused(self, bench: Bench) -> None:
        for data in ("\ud800", "x" * BODY_BYTES):
            with pytest.raises(Refused):
                await bench.sidecar.bind("mail", "create", data, {"fileName": "x"})
        assert bench.files() == {}


class TestTheRest:
    async def test_an_unknown_app_is_an_answer(self, bench: Bench) -> None:
        answer = await bench.sidecar.invoke("nobody", "method")
        assert answer.status == 500
        assert b"ERR_DIRECT_INVOKE" in answer.body

    async def test_it_is_ready_until_it_is_closed(self, bench: Bench) -> None:
        assert await bench.sidecar.outbound_ready()
        await bench.sidecar.close()
        assert not await bench.sidecar.outbound_ready()
        with pytest.raises(Unreachable):
            await bench.sidecar.read(["a"])
