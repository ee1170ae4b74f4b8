"""A gateway with nobody behind it but what a test makes of them."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI

from chassis.problems import MEDIA_TYPE, Problem
from chassis.service import Service
from chassis.sidecar import Answer, SidecarError
from chassis_testing.memory import App, MemoryBroker, MemorySidecar, MemoryStore
from gateway.api import Api
from support.http import Heard


class Behind:
    """The services behind: remembers what it was asked, answers what it was told to."""

    def __init__(self, answer: Answer | SidecarError | None) -> None:
        """`None` is no answer at all."""
        self.answer: Answer | SidecarError | None = answer
        self.asked: list[tuple[str, str, Any, Mapping[str, str]]] = []
        self.headers: Mapping[str, str] = {}
        self.ready = False  # whether it says that it is ready, whatever else it answers

    async def __call__(
        self, method: str, body: bytes | None, query: Mapping[str, str], headers: Mapping[str, str], verb: str
    ) -> Answer:
        self.asked.append((verb, method, json.loads(body) if body else None, query))
        if method == "ready" and self.ready:
            return Answer(200, b"{}")
        self.headers = headers
        if isinstance(self.answer, SidecarError):
            raise self.answer
        if self.answer is None:
            await asyncio.get_running_loop().create_future()
        assert isinstance(self.answer, Answer)
        return self.answer


def says(value: Any, status: int = 200) -> Behind:
    return Behind(Answer(status, json.dumps(value).encode(), {"content-type": "application/json"}))


def refuses(problem: Problem, status: int = 200) -> Behind:
    """Refuse as a service does: a business refusal travels as 2xx."""
    return Behind(Answer(status, json.dumps(problem.body()).encode(), {"content-type": MEDIA_TYPE}))


def gateway(behind: Behind, patience: float = 0.01) -> FastAPI:
    apps: dict[str, App] = dict.fromkeys(("users", "orders", "inventory"), behind)
    sidecar = MemorySidecar(MemoryStore(), MemoryBroker(), apps=apps)
    service = Service("gateway", sidecar=sidecar)
    service.routes(Api(service, patience=patience).router)
    return service.app


def refused(heard: Heard, status: int, field: str | None = None) -> str:
    """Expect a rendered problem; returns its detail."""
    assert heard.headers["content-type"] == MEDIA_TYPE
    assert (heard.status, heard.json["status"]) == (status, status)
    assert field is None or heard.json["field"] == field
    return heard.json["detail"]


def daprd_says(why: str) -> Answer:
    """Answer as daprd does when it could not call."""
    message = f"failed to invoke, id: orders, err: {why}"
    return Answer(500, json.dumps({"errorCode": "ERR_DIRECT_INVOKE", "message": message}).encode())
