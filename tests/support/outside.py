"""The outside world of a reactor's test: what others answer, and what they were asked and given."""

from collections.abc import Callable, Mapping
from typing import Any

from chassis.rules import Outside, Ref, S

Answers = Mapping[tuple[str, str], Any]
"""(app, method) -> an answer, an exception to raise, or a function of the body."""


class Elsewhere(Outside):
    """Answers as told, and remembers. What nobody told it about fails the test."""

    def __init__(self, answers: Answers, *documents: tuple[Ref[Any], Any], attempt: int = 1) -> None:
        self.idempotency_key, self.attempt = "reactor/test/e-1", attempt
        self.asked: list[tuple[str, str, Any]] = []
        self.bound: list[tuple[str, str, str, Mapping[str, str]]] = []
        self._answers, self._documents = answers, dict(documents)

    async def invoke(
        self, app: str, method: str, body: Mapping[str, Any] | None = None, *, fresh_for: float = 0.0
    ) -> Any:
        self.asked.append((app, method, body))
        assert (app, method) in self._answers, f"nobody said what {app}/{method} answers"
        answer = self._answers[app, method]
        if isinstance(answer, Exception):
            raise answer
        return answer(body) if isinstance(answer, Callable) else answer

    async def bind(self, binding: str, operation: str, data: str, metadata: Mapping[str, str]) -> None:
        self.bound.append((binding, operation, data, metadata))

    async def read(self, ref: Ref[S]) -> S | None:
        assert ref in self._documents, f"nobody said what {ref} holds"
        return self._documents[ref]
