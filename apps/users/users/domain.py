"""Who may order, and where mail reaches them.

A user (may they order?) and their contact (name and address) are two documents: what everybody hears of is the one,
and the facts of the other never leave this service.
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from chassis.envelope import Command, Event
from chassis.problems import NotFound
from chassis.rules import Context, Documents, Rules
from contracts.users import Email, UserDeactivated, UserEvent, UserRegistered
from contracts.values import Name, UserId

rules = Rules()
DISCREET = ConfigDict(hide_input_in_errors=True)  # an error would otherwise quote what it found, in the log


class Status(StrEnum):
    """Whether a user may order."""

    ACTIVE = "active"
    INACTIVE = "inactive"
    UNKNOWN = "unknown"


class RegisterUser(Command):
    """Let somebody order. Who is known already stays as they are, so this may be repeated."""

    model_config = DISCREET

    user_id: UserId
    name: Name
    email: Email


class DeactivateUser(Command):
    """Let somebody order nothing more."""

    user_id: UserId


class ContactGiven(Event):
    """Where mail reaches a user. Personal data: it stays in users' own journal."""

    model_config = DISCREET
    aggregate: ClassVar[str] = "contact"
    key: ClassVar[str] = "user_id"
    published: ClassVar[bool] = False

    user_id: UserId
    name: Name
    email: Email
    at: datetime | None = None


class UserState(BaseModel):
    """One user, as anybody may know them."""

    model_config = ConfigDict(frozen=True)

    user_id: str
    status: Status


class ContactState(BaseModel):
    """How to address one user."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    user_id: str
    name: str
    email: str


user = rules.document("user", UserState)
contact = rules.document("contact", ContactState)


@user.evolve
def evolve_user(_state: UserState | None, event: UserEvent) -> UserState:
    """Fold one fact into a user."""
    status = Status.INACTIVE if isinstance(event, UserDeactivated) else Status.ACTIVE
    return UserState(user_id=event.user_id, status=status)


@contact.evolve
def evolve_contact(_state: ContactState | None, event: ContactGiven) -> ContactState:
    """Fold one fact into a contact: it carries all of it."""
    return ContactState(user_id=event.user_id, name=event.name, email=event.email)


def not_registered(user_id: str) -> NotFound:
    """Refuse what concerns nobody we know."""
    return NotFound(f"there is no user {user_id}; register one first", field="userId")


@rules.command(RegisterUser, loads=lambda c: (user(c.user_id), contact(c.user_id)))
def register(docs: Documents, command: RegisterUser, context: Context) -> Sequence[Event]:
    """Register a user once."""
    if docs[user(command.user_id)] is not None:
        return ()
    given = ContactGiven(user_id=command.user_id, name=command.name, email=command.email, at=context.moment)
    return (UserRegistered(user_id=command.user_id, at=context.moment), given)


@rules.command(DeactivateUser, loads=lambda c: (user(c.user_id),))
def deactivate(docs: Documents, command: DeactivateUser, context: Context) -> Sequence[Event]:
    """Deactivate an active user; once is enough."""
    state = docs[user(command.user_id)]
    if state is None:
        raise not_registered(command.user_id)
    if state.status is Status.INACTIVE:
        return ()
    return (UserDeactivated(user_id=command.user_id, at=context.moment),)
