"""What is outside of ours: the bank with its real book in memory, and the folder of mails."""

import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

import bank.api
from bank.book import Book, Payment
from chassis.sidecar import Answer
from outrigger.world import Entry, Mail

if TYPE_CHECKING:
    from simulation.town import Town

REFUSED = Answer(500, b'{"errorCode":"ERR_DIRECT_INVOKE","message":"dial tcp: connection refused"}')
HUNG = 3.0  # seconds that a sidecar waits for an answer
JSON = {"content-type": "application/json"}


class Bank:
    """Asked through the sidecar by its HTTPEndpoint's name."""

    def __init__(self, town: "Town") -> None:
        self.town = town
        self.book = Book(Path(":memory:"))
        self.stopped_until = 0.0
        self.lost_answers = self.slow_answers = 0

    async def answer(
        self, method: str, body: bytes | None, _query: Mapping[str, str], _headers: Mapping[str, str], _verb: str
    ) -> Answer:
        """Do what is asked, and say how the payment stands."""
        await self.town.pause()
        if self.town.loop.now < self.stopped_until:
            self.town.hit("bank stopped")
            return REFUSED
        asked = orjson.loads(body or b"{}")
        if self.slow_answers:
            self.slow_answers -= 1
            self.town.hit("bank slow")
            self.town.loop.call_later(HUNG + 0.5, self._do, method, asked)  # though nobody listens any more
            self.town.in_hand += 1
            await self.town.sleep(HUNG)
            return Answer(500, b'{"errorCode":"ERR_DIRECT_INVOKE","message":"context deadline exceeded"}')
        done = self._do(method, asked, in_time=True)
        if self.lost_answers:
            self.lost_answers -= 1
            self.town.hit("bank's answer lost")
            await self.town.sleep(HUNG / 4)
            return Answer(500, b'{"detail":"the bank has a fault"}')
        return Answer(200, orjson.dumps(bank.api.told(done)), JSON)

    def _do(self, method: str, asked: dict[str, Any], *, in_time: bool = False) -> Payment:
        self.town.in_hand -= not in_time
        match method:
            case "authorize":
                return self.book.authorize(asked["key"], int(Decimal(asked["amount"]) * 100))
            case "void":
                return self.book.void(asked["key"])
            case "capture":
                return self.book.capture(asked["key"])
            case _:
                raise ValueError(f"the bank has no {method}")

    def entries(self) -> dict[str, Entry]:
        """Show the book as the audit reads it."""
        return {
            payment.key: Entry(
                payment.status, None if payment.amount is None else payment.amount / 100, movements.count("taken")
            )
            for payment, movements in self.book.page("", 10**6)
        }


class Mailbox:
    """The output binding `mail`: a file by its name, replaced where it comes again."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.repeats = 0

    def bind(self, operation: str, data: str, metadata: Mapping[str, str]) -> None:
        """Write one file."""
        assert operation == "create", operation
        self.repeats += metadata["fileName"] in self.files
        self.files[metadata["fileName"]] = data

    def mails(self) -> list[Mail]:
        """Show the folder as the audit reads it."""
        return [_mail(name, text) for name, text in sorted(self.files.items())]


def _mail(name: str, data: str) -> Mail:
    """Read a mail of plain ASCII; the parser of the standard library takes longer than all the rest of a seed."""
    head, _, text = data.partition("\r\n\r\n")
    fields = dict(re.findall(r"^([A-Za-z-]+): (.*?)\r?$", head.replace("\r\n ", " "), re.MULTILINE))
    found = re.search(r"<?([^\s<>]+@[^\s<>]+)>?$", fields["To"])
    return Mail(name, fields["Message-ID"], found[1] if found else "", fields["Subject"], text)
