"""What counts as an answer of the one who was asked."""

from typing import Any, cast

import pytest

from identity import invocation
from identity.questions import Question
from identity.table import Call
from support.http import Heard

EMPTY, NOT_FOUND, LATE = (
    Heard(500, {}, b'{"errorCode":"ERR_DIRECT_INVOKE","message":"failed to invoke, id: orders, err: %b"}' % why)
    for why in (
        b"passthrough: received empty target in Build()",
        b"couldn't find service: orders",
        b"timeout waiting for address for app id orders",
    )
)
CALL = Call("stranger", "orders", "POST", "/order-status")


class Sidecar:
    """Gives these answers in turn, and the last one for ever."""

    def __init__(self, *answers: Heard) -> None:
        self.answers, self.asked = list(answers), 0

    def by(self, *_: Any, **__: Any) -> Heard:
        self.asked += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def invoked(sidecar: Sidecar) -> Heard:
    return invocation.invoked(cast("Any", sidecar), CALL, Question(b"x"))


@pytest.mark.parametrize("last", [Heard(200, {}, b"let in"), Heard(500, {}, b"a circuit is open")])
def test_what_reached_nobody_is_asked_again_and_the_first_answer_counts(last: Heard) -> None:
    sidecar = Sidecar(EMPTY, NOT_FOUND, LATE, last, Heard(403, {}, b"access control policy has denied access"))
    assert invoked(sidecar) == last
    assert sidecar.asked == 4
    assert not invocation.denied(last)


def test_what_never_reaches_anybody_is_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invocation, "WITHIN", 0.05)
    with pytest.raises(AssertionError, match="reaches somebody"):
        invoked(Sidecar(EMPTY))
