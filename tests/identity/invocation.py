"""Asking another app through one's own sidecar, and how its sidecar refuses."""

from identity.questions import Question
from identity.secured import Secured
from identity.table import Call
from support.http import Heard


def invoked(system: Secured, call: Call, question: Question, **headers: str) -> Heard:
    """Ask a question of another app."""
    there = f"/v1.0/invoke/{call.target}/method{question.path(call.path)}"
    return system.by(call.caller, call.verb, there, question.body if call.verb != "GET" else None, **headers)


def denied(heard: Heard) -> bool:
    """Tell whether the called one's sidecar refused."""
    return heard.status == 403 and b"access control policy has denied access" in heard.content
