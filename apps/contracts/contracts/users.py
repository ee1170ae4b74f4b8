"""What the users service says. No event holds a name or an address: personal data stays with users, which is asked."""

from datetime import datetime
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field, StringConstraints

from chassis.envelope import Command, Event, Wire
from contracts.values import Name, UserId

TOPIC = "users"

_ATOMS = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"  # the dot-atom of RFC 5322
_LABEL = "[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
_DISCREET = ConfigDict(hide_input_in_errors=True)  # errors are logged; personal data is not

Email = Annotated[
    str,
    StringConstraints(min_length=3, max_length=254, pattern=rf"^{_ATOMS}@{_LABEL}(\.{_LABEL})*$"),
    Field(description="an address of one person, name@domain in ASCII; checked for its form only"),
]


class UserEvent(Event):
    """A fact about one user. `at` is when it was decided; events published by hand may lack it."""

    topic: ClassVar[str] = TOPIC
    aggregate: ClassVar[str] = "user"
    key: ClassVar[str] = "user_id"

    user_id: UserId
    at: datetime | None = None


class UserRegistered(UserEvent):
    """Somebody may order from now on."""


class UserDeactivated(UserEvent):
    """This user orders nothing more; open orders go their way."""


class RegisterRequest(Command):
    """Who wants to order, and where mail reaches them."""

    model_config = _DISCREET

    name: Name
    email: Email


class UserRequest(Command):
    """Name one user, for whatever is asked or wished about them."""

    user_id: UserId


class UserAccepted(Wire):
    """The answer to a registration: it is stored."""

    user_id: UserId
    active: bool


class UserAnswer(Wire):
    """A user as shown to themselves, and to notifications, which writes to them."""

    model_config = _DISCREET

    user_id: UserId
    name: Name
    email: Email
    active: bool


class UserStatus(Wire):
    """Whether a user may order: `active`, `inactive` or `unknown`."""

    user_id: UserId
    status: str
