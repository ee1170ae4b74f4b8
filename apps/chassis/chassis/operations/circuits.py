"""Circuits, as the answers to calls show them: outside of a cluster daprd tells nobody how its breakers stand.

daprd keeps a breaker for each app *and* method, so that is how a circuit is named here. An HTTPEndpoint has one for all
its methods; each of them hears of it with its next call.

closed -> open         an answer says so
open -> half-open      a call that began later got through, or was told that another one is on trial
half-open -> closed    it succeeded
half-open -> open      it failed (a policy that repeats calls hides this: the repetition is refused again)
"""

import logging
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus
from typing import Any

REFUSAL = b"ERR_DIRECT_INVOKE"  # with one of these words: by the breaker, not by the app
OPEN_WORDS = b"circuit breaker is open"
TRIAL_WORDS = b"too many requests"
log = logging.getLogger(__name__)


class State(StrEnum):
    """How a circuit stands."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@dataclass(slots=True)
class Circuit:
    """One target and method; times are of the monotonic clock."""

    app: str
    method: str
    state: State = State.CLOSED
    since: float = field(default_factory=time.monotonic)
    opened: float = 0.0
    changes: Counter[State] = field(default_factory=Counter)  # by the new state

    def move(self, state: State) -> None:
        """Go over to `state`, and say so."""
        if state is self.state:
            return
        level = logging.WARNING if state is State.OPEN else logging.INFO
        change = {"target": self.app, "method": self.method, "was": self.state.value, "now": state.value}
        log.log(level, "a circuit changed", extra=change)
        self.state, self.since = state, time.monotonic()
        self.changes[state] += 1
        if state is State.OPEN:
            self.opened = self.since

    def described(self) -> dict[str, Any]:
        """Return it as JSON; `seconds` tells for how long it has stood so."""
        seconds = round(time.monotonic() - self.since, 1)
        return {"app": self.app, "method": self.method, "state": self.state.value, "seconds": seconds}


class Circuits:
    """The circuits of one process's calls; those that were never called are not known."""

    def __init__(self) -> None:
        """Know none."""
        self._known: dict[tuple[str, str], Circuit] = {}

    def __iter__(self) -> Iterator[Circuit]:
        """Go through them by name."""
        return iter([self._known[name] for name in sorted(self._known)])

    def heard(self, app: str, method: str, began: float, status: int, body: bytes) -> None:
        """Learn from the answer to a call that began at `began`."""
        circuit = self._known.get((app, method))
        if circuit is None:
            circuit = self._known[app, method] = Circuit(app, method)
        failed = status >= HTTPStatus.BAD_REQUEST
        if failed and REFUSAL in body and OPEN_WORDS in body:
            circuit.move(State.OPEN)
        elif failed and REFUSAL in body and TRIAL_WORDS in body:
            circuit.move(State.HALF_OPEN)
        elif circuit.state is not State.CLOSED and began > circuit.opened:
            circuit.move(State.HALF_OPEN)
            circuit.move(State.OPEN if failed else State.CLOSED)
