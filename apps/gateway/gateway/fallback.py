"""The last good answers to questions, for times in which the service behind does not answer.

Only answers that were given (2xx) are kept, the most recently asked for, within a bound. A refusal such as "there is
no such order" is a good answer too: it is passed on, and what was kept before is forgotten. Whoever gets an old answer
is told so, and how old it is (RFC 9111, `Age`; `Warning` 110 as RFC 7234 defined it).
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping

import orjson

from chassis.service import Reply

ENTRIES = 10_000
BYTES = 16 * 1024 * 1024
STALE = '110 - "Response is Stale"'

Question = tuple[str, str, tuple[tuple[str, str], ...]]


def question(app: str, method: str, query: Mapping[str, str]) -> Question:
    """Name what is asked of whom."""
    return app, method, tuple(sorted(query.items()))


class Fallback:
    """Answers by question, the longest unused forgotten first."""

    def __init__(
        self, *, entries: int = ENTRIES, size: int = BYTES, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Keep at most `entries` answers of together `size` bytes; `clock` gives seconds."""
        self._entries, self._size, self._clock = entries, size, clock
        self._kept: OrderedDict[Question, tuple[bytes, float]] = OrderedDict()
        self._bytes = 0

    def keep(self, asked: Question, reply: Reply) -> None:
        """Remember an answer that was just given."""
        self.forget(asked)
        data = orjson.dumps(reply.body)
        self._kept[asked] = data, self._clock()
        self._bytes += len(data)
        while self._bytes > self._size or len(self._kept) > self._entries:
            self.forget(next(iter(self._kept)))

    def forget(self, asked: Question) -> None:
        """Drop an answer, if there is one."""
        data, _ = self._kept.pop(asked, (b"", 0.0))
        self._bytes -= len(data)

    def __contains__(self, asked: Question) -> bool:
        """Tell whether there is an answer."""
        return asked in self._kept

    def recall(self, asked: Question) -> Reply | None:
        """Return the last good answer, marked as old; None where there is none."""
        if asked not in self._kept:
            return None
        self._kept.move_to_end(asked)
        data, then = self._kept[asked]
        return Reply(200, orjson.Fragment(data), {"warning": STALE, "age": str(int(self._clock() - then))})
