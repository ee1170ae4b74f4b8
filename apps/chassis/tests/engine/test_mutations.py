"""Every attack succeeds once its defence is taken away: a test that cannot fail would show nothing."""

import asyncio
import dataclasses
import uuid
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import attacks
import pytest
from attacks import ATTACKS

from chassis import draft, engine, executor, followers, journal, keys, service, views, work
from chassis.draft import Draft
from chassis.problems import Problem
from chassis.sidecar import Put, SidecarError

Patch = Callable[[pytest.MonkeyPatch], None]


def patched(target: Any, name: str, value: Any) -> Patch:
    return lambda monkeypatch: monkeypatch.setattr(target, name, value)


async def _nothing(*_args: Any, **_kwargs: Any) -> None:
    return None


def _no_inbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work.Message, "run", lambda self, d: (d.get(keys.inbox(self.id)), self.handle(d))[1])


def _own_ghost(monkeypatch: pytest.MonkeyPatch) -> None:
    async def settle(_self: Any, _number: int, _commit: str) -> None:
        raise journal.Fenced

    monkeypatch.setattr(journal.Lanes, "settle", settle)


def _no_head_etag(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Draft.operations

    def operations(self: Draft, head: Any, record: Any) -> Any:
        return [o._replace(etag=None) if o.key.startswith("head:") else o for o in original(self, head, record)]

    monkeypatch.setattr(Draft, "operations", operations)


def _no_document_etags(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Draft.operations

    def operations(self: Draft, head: Any, record: Any) -> Any:
        return [
            o._replace(etag=None, insert=False) if isinstance(o, Put) and o.key.startswith("doc:") else o
            for o in original(self, head, record)
        ]

    monkeypatch.setattr(Draft, "operations", operations)


def _marks_expire(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Draft.put

    def put(self: Draft, key: str, value: Any, *, ttl: int | None = None) -> None:
        original(self, key, value, ttl=work.COMMAND_TTL if key.startswith("inbox:") else ttl)

    monkeypatch.setattr(Draft, "put", put)


def _ids_are_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    original = service.Service.message

    def message(self: Any, data: Any) -> Any:
        number = data["origin"].split("/", 2)[2].replace("/", ".").replace("#", ".")
        return original(self, {**data, "eventId": number})

    monkeypatch.setattr(service.Service, "message", message)


def _fold_always(self: Any, d: Draft, kind: Any, event: Any) -> None:
    ref = kind(event.aggregate_id)
    d.put(ref.key, draft.Doc.of(self.context.revision or 0, kind.apply(d.doc(ref).state, event)))


def _apply_at_once(self: Any, d: Draft, event: Any) -> tuple[str, Any] | None:
    name = self.slot.row(event["subject"])
    row = d.get(name) or {"revision": 0, "state": None, "parked": {}, "listed": False}
    if event["revision"] <= row["revision"]:
        return None
    row = self._folded({**row, "revision": event["revision"] - 1}, event)
    d.put(name, {**row, "listed": True})
    return None if row["listed"] else ("all", event["subject"])


def _one_key_read_back(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Draft.changed.fget
    assert original

    def changed(self: Draft) -> bool:
        return bool(original(self)) and not any(k.startswith("inbox:") for k in self.base.stored)

    monkeypatch.setattr(Draft, "changed", property(changed))


def _blind_to_life(monkeypatch: pytest.MonkeyPatch) -> None:
    async def abandoned(self: Any, lane: Any, seen: dict[int, Any]) -> bool:
        now = asyncio.get_running_loop().time()
        _, since = seen.setdefault(lane.number, ("", now))
        return now - since >= self.settings.lease

    monkeypatch.setattr(engine.Engine, "_abandoned", abandoned)


def _always_dead_again(monkeypatch: pytest.MonkeyPatch) -> None:
    _no_inbox(monkeypatch)
    original = work.Letter.run

    def run(self: Any, d: Draft) -> None:
        d.get(keys.inbox(self.message_id))
        d.base.stored.pop(keys.inbox(self.message_id), None)
        original(self, d)

    monkeypatch.setattr(work.Letter, "run", run)


def _redrive_without_looking(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(self: Any, d: Draft) -> None:
        letter = d.get(self.letter)
        d.get(keys.inbox(letter["id"]))
        d.get(keys.inbox(self.message.id))
        self.message.handle(d)
        d.put(self.letter, {**letter, "open": False})

    monkeypatch.setattr(work.Redrive, "run", run)


def _redrive_as_a_delivery(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(self: Any, d: Draft) -> None:
        self.message.run(d)
        d.put(self.letter, {**d.get(self.letter), "open": False})

    monkeypatch.setattr(work.Redrive, "run", run)


def _refuse_when_full(monkeypatch: pytest.MonkeyPatch) -> None:
    async def submit(self: Any, w: Any, size: int = 0) -> Any:
        return await self.enqueue(w, size).answer

    monkeypatch.setattr(executor.Executor, "submit", submit)


def _unknown_is_final(monkeypatch: pytest.MonkeyPatch) -> None:
    original = followers.Reaction._attempt

    async def attempt(self: Any, *args: Any) -> None:
        await original(self, *args)

    monkeypatch.setattr(followers.Reaction, "_attempt", attempt)


def _fresh_command_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    original = followers.Commands.reaction

    def reaction(self: Any, command: Any, key: str, event: Any) -> Any:
        return dataclasses.replace(original(self, command, key, event), id=uuid.uuid4().hex)

    monkeypatch.setattr(followers.Commands, "reaction", reaction)


def _never_give_up(monkeypatch: pytest.MonkeyPatch) -> None:
    original = followers.Reaction.__init__

    def init(self: Any, reactor: Any, *args: Any) -> None:
        original(self, dataclasses.replace(reactor, attempts=0), *args)

    monkeypatch.setattr(followers.Reaction, "__init__", init)


def _raw_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "part", lambda text: text)


def _unbounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draft, "bounded", lambda data, _limit, _what: data)


def _no_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    async def halve(_self: Any, items: Any, _error: Exception) -> None:
        for item in items:
            item.settle(Problem("the batch was refused"))

    monkeypatch.setattr(executor.Executor, "_halve", halve)


def _keys_without_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    original = service.Service.key
    monkeypatch.setattr(service.Service, "key", lambda s, r, *, caller, body: original(s, r, caller="", body=body))  # noqa: ARG005


def _only_what_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(self: Any, d: Draft) -> Any:
        known = d.get(keys.inbox(self.id)) if keys.inbox(self.id) not in d.base.asked else None
        stored = d.base.stored.get(keys.inbox(self.id))
        return self._again(stored.value) if stored else (known, self.handle(d))[1]

    monkeypatch.setattr(work.Message, "run", run)


def _pointer_too_early(monkeypatch: pytest.MonkeyPatch) -> None:
    original = views.Views.finish_rebuild

    async def none() -> list[Any]:
        return []

    async def finish(self: Any, name: str, _lanes: Any) -> bool:
        return await original(self, name, cast("Any", SimpleNamespace(all=none)))

    monkeypatch.setattr(views.Views, "finish_rebuild", finish)


def _highest_is_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    def done(self: Any, number: int) -> int:
        self.settled = max(self.settled, number)
        return self.settled

    monkeypatch.setattr(followers.Progress, "done", done)


def _merge_always(monkeypatch: pytest.MonkeyPatch) -> None:
    def merged(d: Draft, run: Any) -> Any:
        fork = d.fork()
        try:
            return run(fork)
        finally:
            d.merge(fork)

    monkeypatch.setattr(executor, "_merged", merged)


def _never_careful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.Engine, "_be_careful", lambda _self, _executor: None)


def _shared_probe_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "uuid4", lambda: uuid.UUID(int=7))


def _trusting_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attacks, "probe", _nothing)


DEFENCES: dict[str, Patch] = {
    "1 late commit, then refused": patched(journal.Lanes, "settle", _nothing),
    "1 late commit, refused elsewhere": patched(work.Message, "_refuse", lambda _self, _draft, problem: problem),
    "1 the answer is lost": _own_ghost,
    "1 late commit over a restart": _no_head_etag,
    "2 the replay comes after a week": _marks_expire,
    "3 numbers used again": _ids_are_numbers,
    "4 an older revision comes later": patched(work.Message, "_fold_copy", _fold_always),
    "4 a later lane is read first": patched(views.Fold, "_apply", _apply_at_once),
    "7 one of a batch was done elsewhere": _one_key_read_back,
    "8 an abandoned lane": patched(engine.Engine, "_adopt", _nothing),
    "8 a paused owner wakes": _no_head_etag,
    "8 live leases are not stolen": _blind_to_life,
    "9 hot documents over replicas": _no_document_etags,
    "11 dead once, however often delivered": _always_dead_again,
    "11 redriven once": _redrive_without_looking,
    "11 a redrive does what the delivery could not": _redrive_as_a_delivery,
    "11 overload delays": _refuse_when_full,
    "12 an unknown outcome is asked again": _unknown_is_final,
    "12 a reaction is repeated after a crash": _fresh_command_ids,
    "12 a poisonous call does not block": _never_give_up,
    "13 names that break stores": _raw_names,
    "13 digits that get lost": _unbounded,
    "13 an event that is too large": lambda m: m.setattr(keys, "EVENT_BYTES", 10**9),
    "13 one that the store refuses": _no_halves,
    "13 one that cannot even be read": _no_halves,
    "14 another caller's key": _keys_without_callers,
    "14 a double click in one batch": _only_what_is_stored,
    "15 lists do not grow": lambda m: m.setattr(views, "PAGE_ROWS", 1000),
    "16 rebuilt while events come": _pointer_too_early,
    "17 the mark waits for what failed": _highest_is_settled,
    "17 an event that the broker never takes": lambda m: m.setattr(followers, "REFUSALS", 10**9),
    "20 half a change": _merge_always,
    "21 a message that ends the process": _never_careful,
    "22 replicas probe side by side": _shared_probe_keys,
    "22 a store without rollback is refused": _trusting_probe,
}


def _forget_names() -> None:
    for made in (keys.key, keys.document, keys.inbox):
        made.cache_clear()


@pytest.fixture(autouse=True)
def _names_of_nobody_else() -> Iterator[None]:
    """Keep names that a mutant has made from others, and others' from it."""
    _forget_names()
    yield
    _forget_names()


def test_every_attack_has_a_defence_to_lose() -> None:
    assert DEFENCES.keys() == ATTACKS.keys()


@pytest.mark.parametrize("name", DEFENCES)
async def test_fails_without_its_defence(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    DEFENCES[name](monkeypatch)
    with pytest.raises((AssertionError, TimeoutError, Problem, SidecarError, ZeroDivisionError)):
        async with asyncio.timeout(8):
            await ATTACKS[name]()
