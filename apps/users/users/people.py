"""The people that a new shop knows, so that an order can be placed at once: nobody real, registered at start."""

import json
from importlib.resources import files

from chassis.service import Service
from users.domain import RegisterUser, user


def people() -> tuple[RegisterUser, ...]:
    """Read them from `people.json`; raises where one is malformed."""
    text = files("users").joinpath("people.json").read_text(encoding="utf-8")
    return tuple(RegisterUser.model_validate(row) for row in json.loads(text))


async def register_people(service: Service) -> None:
    """Register who is not yet; at a restart, or beside another replica, nobody is registered twice."""
    await service.submit_missing({user(command.user_id): command for command in people()})
