"""The users service over HTTP, on a sidecar in memory."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from chassis.process import JsonFormatter, Settings
from chassis.service import Service
from chassis_testing.memory import MemoryBroker, MemorySidecar, MemoryStore
from contracts.users import UserAnswer
from support.http import Heard, ask
from users.api import Api
from users.domain import rules
from users.people import people, register_people

WISH = {"name": "Zephyrine Quill", "email": "zephyrine.quill@example.org"}
BETWEEN_SERVICES = {"dapr-caller-app-id": "notifications"}


class Users:
    """The running service, and whom it publishes to."""

    def __init__(self) -> None:
        self.broker, self.store = MemoryBroker(), MemoryStore()
        sidecar = MemorySidecar(self.store, self.broker)
        self.service = Service("users", rules, settings=Settings(drain_within=1.0), sidecar=sidecar)
        self.service.routes(Api(self.service).router)

    async def post(self, method: str, body: Any, **headers: str) -> Heard:
        return await ask(self.service.app, "POST", f"/{method}", body=body, headers=headers)

    async def registered(self, key: str = "k") -> str:
        heard = await self.post("register-user", WISH, **{"Idempotency-Key": key})
        assert (heard.status, heard.json["active"]) == (202, True)
        return heard.json["userId"]

    async def status(self, user_id: str) -> str:
        return (await self.post("user-status", {"userId": user_id})).json["status"]


@pytest.fixture
async def users() -> AsyncIterator[Users]:
    made = Users()
    async with made.service.app.router.lifespan_context(made.service.app):
        assert made.service.engine
        await made.service.engine.ready.wait()
        yield made


async def test_a_user_is_registered_shown_and_deactivated(users: Users) -> None:
    user_id = await users.registered()
    shown = await ask(users.service.app, "GET", "/user", query={"id": user_id})
    assert UserAnswer.model_validate(shown.json) == UserAnswer(user_id=user_id, active=True, **WISH)
    assert await users.status(user_id) == "active"
    assert (await users.post("deactivate-user", {"userId": user_id})).json == {"userId": user_id, "active": False}
    assert await users.status(user_id) == "inactive"
    assert (await users.post("contact", {"userId": user_id})).json == {**shown.json, "active": False}


async def test_the_same_key_is_the_same_user(users: Users) -> None:
    first, again, other = [await users.registered(key) for key in ("mine", "mine", "yours")]
    assert first == again != other
    refused = await users.post("register-user", {**WISH, "name": "Else"}, **{"Idempotency-Key": "mine"})
    assert (refused.status, refused.json["title"]) == (422, "KeyReused")


async def test_a_stranger_is_an_answer_where_it_is_asked_and_a_refusal_elsewhere(users: Users) -> None:
    assert await users.status("nobody") == "unknown"
    for method in ("contact", "deactivate-user"):
        refused = await users.post(method, {"userId": "nobody"})
        assert (refused.status, refused.json["field"]) == (404, "userId")
        between = await users.post(method, {"userId": "nobody"}, **BETWEEN_SERVICES)
        assert (between.status, between.json["title"]) == (200, "NotFound")
    assert (await ask(users.service.app, "GET", "/user", query={"id": "nobody"})).status == 404


@pytest.mark.parametrize(
    ("change", "field"),
    [({"email": "zephyrine.quill"}, "email"), ({"name": ""}, "name"), ({"name": "a\nb"}, "name"), ({"age": 7}, "age")],
)
async def test_an_invalid_registration_is_refused_by_field_without_repeating_it(
    users: Users, change: dict[str, Any], field: str
) -> None:
    refused = await users.post("register-user", {**WISH, **change})
    assert (refused.status, refused.json["field"]) == (422, field)
    assert b"zephyrine" not in refused.content.lower()


async def test_a_restart_registers_nobody_twice(users: Users) -> None:
    await register_people(users.service)
    before = dict(users.store.rows)
    await register_people(users.service)
    assert users.store.rows.keys() == before.keys()
    assert [await users.status(person.user_id) for person in people()] == ["active"] * 20


async def test_name_and_address_stay_where_they_were_given(users: Users, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.handler.setFormatter(JsonFormatter())
    user_id = await users.registered()
    await users.post("register-user", {**WISH, "email": f"{WISH['email']}@twice"})
    await users.post("register-user", {**WISH, "surname": WISH["name"]})
    await users.post("contact", {"userId": user_id})
    await users.post("deactivate-user", {"userId": user_id})
    async with asyncio.timeout(10):
        while len(users.broker.published.get("users", ())) < 2:
            await asyncio.sleep(0)
    told = orjson.dumps(users.broker.published).decode() + caplog.text
    assert user_id in told
    assert not [word for word in ("zephyrine", "quill") if word in told.lower()]
    kept = b"".join(row.value for row in users.store.rows.values()).decode()
    assert WISH["email"] in kept, "else this proves nothing"
