"""What lies in the folder of mails, as a mail program would show it."""

import email
from collections.abc import Iterable
from email.message import EmailMessage
from email.policy import default
from pathlib import Path


def read(content: bytes) -> EmailMessage:
    """Read one mail; fails where it is malformed."""
    message = email.message_from_bytes(content, policy=default)
    assert isinstance(message, EmailMessage)
    faults = [*message.defects, *(fault for header in message.values() for fault in header.defects)]
    assert not faults, f"{message['Message-ID']}: {faults}"
    return message


def mails_of(folder: Path, orders: Iterable[str]) -> dict[str, EmailMessage]:
    """Read all mails about some orders, by the names of their files; an empty one is just being written."""
    wanted = tuple(f"-{order}" for order in orders)
    files = [file for file in sorted(folder.glob("*.eml")) if file.stem.endswith(wanted)]
    mails = {file.stem: read(content) for file in files if (content := file.read_bytes())}
    ids = [mail["Message-ID"] for mail in mails.values()]
    assert ids == [f"<{name}@outrigger.example>" for name in mails]
    return mails
