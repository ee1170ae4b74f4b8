"""The judgement of a store that has come to rest: what was promised, against what is there."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from accounts import Close
from ledger import EFFECTS, EVENT_EFFECTS, LOOKS_OUTSIDE, NEVER, REACTORS

from chassis import keys
from chassis.problems import KeyReused, OutcomeUnknown
from chassis.work import Reply

if TYPE_CHECKING:
    from trial import Order, Post, Simulation

Fact = dict[str, Any]
ASKED_AGAIN = 5


class Cut(Exception):
    """The connection ended without an answer."""


@dataclass(slots=True)
class Verdict:
    """Every fact must have a cause that was promised its effect, and every promise its facts, once."""

    sim: "Simulation"

    def check(self) -> None:
        world = self.sim.world
        world.check()
        facts = world.events()
        caused: dict[str, list[Fact]] = {}
        for fact in facts:
            caused.setdefault(fact["causationId"], []).append(fact)
        letters = self._letters()
        for each in self.sim.orders:
            self._order(each, caused.pop(self._cause(each, facts), []))
        for post in self.sim.posts:
            self._post(post, caused.pop(post.id, []), letters)
        for fact in facts:
            self._reaction(fact, caused, letters)
        assert not caused, f"effects that nobody asked for: {caused}"
        self._published(facts, letters)
        self._price()
        self._view(facts)
        self._again()

    def _letters(self) -> dict[str, list[Fact]]:
        letters: dict[str, list[Fact]] = {}
        for lane, head in self.sim.lanes().items():
            for number in range(1, head["dead_letters"] + 1):
                letter = self.sim.world.value(keys.dead_letter(lane, number))
                assert letter, f"dead letter {number} of lane {lane} is missing"
                letters.setdefault(letter["id"], []).append(letter)
        return letters

    @staticmethod
    def _cause(order: "Order", facts: list[Fact]) -> str:
        """Return the id of a command; without a key, the engine made it, and the account is nobody else's."""
        if order.key:
            return order.id
        subject = f"account/{order.command.account}"  # type: ignore[attr-defined] - it is a `Buy`
        return next((fact["causationId"] for fact in facts if fact["subject"] == subject), "")

    @staticmethod
    def _order(order: "Order", effect: list[Fact]) -> None:
        names, told = [e["eventType"] for e in effect], order.answer
        assert len({e["origin"].partition("#")[0] for e in effect}) <= 1, f"{order.id} is in several records"
        assert not isinstance(order.command, NEVER) or not names, f"{order.id} left half of itself: {names}"
        expected = EFFECTS.get(type(order.command), [])
        if isinstance(told, Reply):
            right = names in ([], ["Closed"]) if isinstance(order.command, Close) else names == expected
            assert right, f"{order.id} was acknowledged and did {names}"
        elif isinstance(told, OutcomeUnknown | Cut):
            assert names in ([], expected, ["Closed"]), f"{order.id} did {names}"
        else:
            assert not names, f"{order.id} was told {told!r} and did {names}"

    def _post(self, post: "Post", effect: list[Fact], letters: dict[str, list[Fact]]) -> None:
        names, kind = [e["eventType"] for e in effect], post.data["eventType"]
        if post.unreadable:
            found = [letter for each in letters.values() for letter in each if letter["message"] == post.data]
            assert len(found) == 1, f"{post.id} cannot be read and has {len(found)} letters"
            return
        mark, dead = self.sim.world.value(keys.inbox(post.id)), letters.get(post.id, [])
        assert len(dead) <= 1, f"{post.id} has {len(dead)} letters"
        if mark == 1:
            assert not any(letter["open"] for letter in dead), f"{post.id} is handled and has a letter"
            assert names in EVENT_EFFECTS[kind], f"{post.id} ({kind}) did {names}"
        else:
            assert dead, f"{post.id} is neither handled nor dead: {mark}"
            assert dead[0]["open"], f"{post.id} is dead and its letter is closed"
            assert not names, f"{post.id} is dead and did {names}"

    def _reaction(self, fact: Fact, caused: dict[str, list[Fact]], letters: dict[str, list[Fact]]) -> None:
        reactor = REACTORS.get(fact["eventType"])
        if reactor is None:
            return
        name = f"{reactor}/{fact['eventId']}"
        effect, dead = caused.pop(name, []), letters.get(name, [])
        assert len(effect) + len(dead) == 1, f"{name}: {len(effect)} effects, {len(dead)} letters"
        assert reactor != LOOKS_OUTSIDE or dead or name in self.sim.noted, f"{name} never looked outside"

    def _published(self, facts: list[Fact], letters: dict[str, list[Fact]]) -> None:
        sent = {e["eventId"]: e for e in self.sim.world.broker.published.get("bank", [])}
        for fact in facts:
            name = fact["eventId"]
            if fact.get("private"):
                assert name not in sent, "a private fact was published"
            elif f"publication/{name}" not in letters:
                assert sent.get(name) == fact, f"{fact['origin']} was published as {sent.get(name)}"
        ghosts = sent.keys() - {fact["eventId"] for fact in facts}
        assert not ghosts, f"published and not in the journal: {ghosts}"

    def _price(self) -> None:
        handled = [
            post.data["revision"]
            for post in self.sim.posts
            if post.data["eventType"] == "PriceChanged" and self.sim.world.value(keys.inbox(post.id)) == 1
        ]
        stored = self.sim.world.value(keys.document("price", "s"))
        revision = stored["revision"] if stored and stored["state"] else 0
        assert revision == max(handled, default=0), f"the price is of revision {revision}, of {handled}"
        price = self.sim.prices[revision - 1] if revision else None
        assert not revision or stored["state"]["amount"] == price, f"{stored} is not {price}"

    def _view(self, facts: list[Fact]) -> None:
        expected: dict[str, int] = {}
        for fact in facts:
            if fact["eventType"] in {"Deposited", "Withdrawn"}:
                account, amount = fact["payload"]["account"], fact["payload"]["amount"]
                sign = 1 if fact["eventType"] == "Deposited" else -1
                expected[account] = expected.get(account, 0) + sign * amount
        service = self.sim.processes["a"].service
        rows = self.sim.loop.run_until_complete(service.page(service.rules.views["accounts"], "all", 0))
        assert len(rows) == len({row.owner for row in rows}), "a row is listed twice"
        assert {row.owner: row.balance for row in rows} == expected, "the view is not the fold"

    def _again(self) -> None:
        """Whoever asks again gets the same answer; whoever uses the key for something else is told so."""
        before = len(self.sim.world.events())
        for each in [o for o in self.sim.orders if o.key and isinstance(o.answer, Reply)][-ASKED_AGAIN:]:
            again = self.sim.ask("a", each.command, each.key)
            assert again == each.answer, f"{each.id}: {again!r} and not {each.answer}"
            other = self.sim.ask("a", each.command, each.key, b"other")
            assert isinstance(other, KeyReused), f"{each.id}: its key was used twice: {other!r}"
        assert len(self.sim.world.events()) == before, "asking again did something"
