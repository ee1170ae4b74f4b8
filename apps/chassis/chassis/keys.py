"""The one place where state keys are made, and the bounds on what is stored.

Foreign parts are percent-encoded to [A-Za-z0-9._-]: `||` is Dapr's own separator, NUL is refused by PostgreSQL for
ever, a raw `/` cannot be read back by path. Parts beyond 100 bytes are hashed. `:` joins parts and is never inside one.
"""

import hashlib
import re
from functools import lru_cache
from urllib.parse import quote

PART_BYTES = 100
EVENT_BYTES = 256 * 1024
DOCUMENT_BYTES = 256 * 1024
BATCH_ITEMS = 256
BATCH_BYTES = 1024 * 1024
REQUEST_BYTES = 1024 * 1024
TRANSACTION_BYTES = 3 * 1024 * 1024  # daprd refuses 4 MiB
_SAFE = re.compile(r"[A-Za-z0-9._-]{1,100}")
MAX_INTEGER = 2**53 - 1  # beyond it, digits are lost on the way


def part(text: str) -> str:
    """Make one foreign string safe as part of a key; distinct strings stay distinct."""
    if _SAFE.fullmatch(text):
        return text
    safe = quote(text, safe="").replace("~", "%7E")
    if len(safe) <= PART_BYTES:
        return safe or "~"
    return "~" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@lru_cache(4096)  # each is asked for several times in a batch
def key(kind: str, *parts: str | int) -> str:
    """Build a state key: `key("doc", "order", "1/2")` is `doc:order:1%2F2`."""
    return ":".join((kind, *(part(str(p)) for p in parts)))


def head(lane: int) -> str:
    """The head document of a lane."""
    return f"head:{lane}"


def record(lane: int, number: int) -> str:
    """One journal record."""
    return f"journal:{lane}:{number}"


@lru_cache(4096)
def document(kind: str, name: str) -> str:
    """A document of an aggregate or a local copy."""
    return f"doc:{part(kind)}:{part(name)}"


@lru_cache(4096)
def inbox(message_id: str) -> str:
    """The mark that a message was handled."""
    return f"inbox:{part(message_id)}"


def attempt(message_id: str) -> str:
    """The count of tries of a message that may have killed the process."""
    return f"attempt:{part(message_id)}"


def dead_letter(lane: int, number: int) -> str:
    """A dead letter, numbered in its lane's head."""
    return f"dead:{lane}:{number}"


LANES = "lanes"
HANDLED = "handled"  # the event types that this service handles, for whoever asks what it should have received


def fingerprint(*parts: str | bytes) -> str:
    """Hash parts so that no two different lists of parts collide by concatenation."""
    digest = hashlib.sha256()
    for item in parts:
        data = item if isinstance(item, bytes) else item.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.hexdigest()


def integers_fit(value: object) -> bool:
    """Tell whether every integer in a JSON value survives daprd (|n| < 2^53)."""
    stack: list[object] = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            stack.extend(item.values())
        elif isinstance(item, list | tuple):
            stack.extend(item)
        elif isinstance(item, int) and abs(item) > MAX_INTEGER:
            return False
    return True
