"""Events as classes and as they travel: the envelope, its versions, and the registry that reads old ones.

An event class names its aggregate, so `decide` can return plain events and the engine knows whose fact each is.
"""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from chassis.problems import Invalid

if TYPE_CHECKING:
    from collections.abc import Mapping


class Wire(BaseModel):
    """A frozen model that is camelCase on the wire and ignores fields it does not know (a tolerant reader)."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore")


class Command(BaseModel):
    """A wish, named in the imperative. Unknown fields are refused."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True, extra="forbid")


class Event(Wire):
    """A fact, named in the past tense.

    `aggregate` is the kind of document it belongs to and `key` the field that holds its id. A fact with
    `published = False` stays in the journal. Former versions are classes of the same `event_type` that override
    `upcast`; the newest lists them as `older`.
    """

    event_type: ClassVar[str] = ""
    version: ClassVar[str] = "1.0"
    aggregate: ClassVar[str] = ""
    key: ClassVar[str] = ""
    older: ClassVar[tuple[type["Event"], ...]] = ()
    published: ClassVar[bool] = True
    topic: ClassVar[str] = ""  # the owning service's; only events that others subscribe to need it

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "event_type" not in cls.__dict__:
            cls.event_type = cls.__name__

    @property
    def aggregate_id(self) -> str:
        """The id of the aggregate this fact belongs to."""
        return str(getattr(self, self.key))

    @property
    def subject(self) -> str:
        """`aggregate/id`, as it stands in the envelope."""
        return f"{self.aggregate}/{self.aggregate_id}"

    def upcast(self) -> "Event":
        """Return this fact as the next newer version; the newest returns itself."""
        return self


class Envelope(Wire):
    """What travels. The first five fields are required of anyone; the rest we always write."""

    event_type: str = Field(min_length=1, max_length=100)
    event_id: str = Field(pattern=r"^[A-Za-z0-9._:-]{1,200}$")  # ids of commands have a `/`: never the same
    timestamp: datetime
    version: str = Field(min_length=1, max_length=20)
    payload: dict[str, Any]
    subject: str | None = None
    revision: int | None = None
    origin: str | None = None
    correlation_id: str | None = None
    causation_id: str | None = None
    traceparent: str | None = None

    @classmethod
    def parse(cls, data: object) -> Self:
        """Read an untrusted value; raises `Invalid` naming the first wrong field."""
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise invalid(error, "the event envelope") from None


def invalid(error: ValidationError, what: str) -> Invalid:
    """Name the first field that is wrong and why, without repeating its value."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    field = ".".join(str(p) for p in first["loc"]) or "(root)"
    return Invalid(f"{what}: {field}: {first['msg']}", field=field)


class Catalogue:
    """The event classes a service can read, by type and version."""

    def __init__(self) -> None:
        """Start empty."""
        self._classes: dict[str, dict[str, type[Event]]] = {}

    def add(self, event: type[Event]) -> None:
        """Know the newest class of an event and its older versions."""
        self._classes.setdefault(event.event_type, {}).update({each.version: each for each in (event, *event.older)})

    def read(self, envelope: Envelope) -> Event:
        """Parse the payload by its version and upcast to the newest; raises `Invalid`."""
        versions: Mapping[str, type[Event]] = self._classes.get(envelope.event_type, {})
        known = versions.get(envelope.version)
        if known is None:
            detail = f"{envelope.event_type} version {envelope.version} is unknown here; known: {sorted(versions)}"
            raise Invalid(detail, field="version")
        try:
            event: Event = known.model_validate(envelope.payload)
        except ValidationError as error:
            raise invalid(error, f"the payload of {envelope.event_type} {envelope.version}") from None
        while (newer := event.upcast()) is not event:
            event = newer
        return event


def timestamp(now: float) -> str:
    """Seconds since the epoch as RFC 3339 in UTC, with microseconds."""
    return datetime.fromtimestamp(now, UTC).isoformat(timespec="microseconds")[: -len("+00:00")] + "Z"
