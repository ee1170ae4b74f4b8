"""Asking another app through one's own sidecar, and how its sidecar refuses."""

from identity.questions import Question
from identity.secured import Secured
from identity.table import Call
from support.http import Heard
from support.polling import eventually

# How daprd 1.14 says that it found no address: one that it reads from a closed channel, where several look for a name
# for the first time at once; no answer to its one question within a second; and what it tells those who waited along.
NOBODY_ASKED = (b"received empty target", b"couldn't find service", b"timeout waiting for address")
WITHIN = 20.0  # s


def invoked(system: Secured, call: Call, question: Question, **headers: str) -> Heard:
    """Ask a question of another app; again, where the caller's own sidecar found no address and asked nobody."""
    there = f"/v1.0/invoke/{call.target}/method{question.path(call.path)}"
    body = question.body if call.verb != "GET" else None

    def heard() -> Heard | None:
        answer = system.by(call.caller, call.verb, there, body, **headers)
        return None if any(words in answer.content for words in NOBODY_ASKED) else answer

    return eventually(heard, within=WITHIN, what=f"{call} reaches somebody")


def denied(heard: Heard) -> bool:
    """Tell whether the called one's sidecar refused."""
    return heard.status == 403 and b"access control policy has denied access" in heard.content
