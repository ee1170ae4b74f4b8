"""What can go wrong with one call to a sidecar, as data: tests hand these to `chassis_testing.memory.MemorySidecar`."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from chassis.sidecar import ETagMismatch, Refused, SidecarError, Unanswered, Unreachable

Verb = Literal["read", "transact", "publish", "invoke", "bind", "ready"]


class Crashed(BaseException):
    """The process died here; every later call of the same sidecar raises it too."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to one call: wait for `before`, apply it (or not, or `late`), wait for `after`, raise `error`.

    Without an `error` it is applied, or `twice`: then the second outcome is answered. A late one is parked until
    `MemoryStore.land`.
    """

    error: type[SidecarError | Crashed] | None = None
    applied: bool = False
    late: bool = False
    twice: bool = False
    before: asyncio.Event | None = None
    after: asyncio.Event | None = None

    @property
    def happens(self) -> bool:
        """Whether the call takes effect at once."""
        return self.error is None or self.applied


NONE = Fault()
UNREACHABLE = Fault(Unreachable)
REFUSED = Fault(Refused)
MISMATCH = Fault(ETagMismatch)
DROPPED = Fault(Unanswered)
LOST_ANSWER = Fault(Unanswered, applied=True)
LATE = Fault(Unanswered, late=True)
TWICE = Fault(twice=True)
CRASH_BEFORE = Fault(Crashed)
CRASH_AFTER = Fault(Crashed, applied=True)

Faults = Callable[[Verb, Any], Fault | None]
"""Asked before every call with its verb and subject: keys, operations, (topic, entries), (app, method) or None."""
