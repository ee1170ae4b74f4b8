"""What lies outside of the ledgers and must agree with them: the bank's own book, and the mails that were sent."""

from dataclasses import dataclass
from email.header import decode_header, make_header
from email.parser import BytesParser
from email.utils import parseaddr
from pathlib import Path
from typing import Any

import aiohttp

from outrigger.errors import LauncherError

_PATIENCE = aiohttp.ClientTimeout(total=30)


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the bank's book. `taken` counts how often money was taken; an amount is None where none was named."""

    state: str  # authorized | declined | voided | captured
    amount: float | None
    taken: int


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail in the folder."""

    name: str
    message_id: str
    to: str
    subject: str
    text: str


async def book_at(url: str) -> dict[str, Entry]:
    """Read the bank's whole book, by key."""
    entries: dict[str, Entry] = {}
    query: dict[str, str] | None = {}
    try:
        async with aiohttp.ClientSession(timeout=_PATIENCE) as http:
            while query is not None:
                async with http.get(f"{url}/book", params=query, raise_for_status=True) as answer:
                    page = await answer.json()
                entries |= {row["key"]: _entry(row) for row in page["payments"]}
                query = {"after": page["next"]} if page["next"] else None
    except (aiohttp.ClientError, TimeoutError) as error:
        raise LauncherError(f"the bank does not show its book ({error!r}): see `outrigger status`.") from None
    return entries


def mails_in(folder: Path) -> list[Mail]:
    """Read the folder; one that is not there holds no mail."""
    return [_mail(file) for file in sorted(folder.glob("*.eml"))]


def _entry(row: dict[str, Any]) -> Entry:
    amount = None if row["amount"] is None else float(row["amount"])
    return Entry(row["status"], amount, row["movements"].count("taken"))


def _mail(file: Path) -> Mail:
    mail = BytesParser().parsebytes(file.read_bytes())  # the modern policy would take ten times as long
    text = mail.get_payload(decode=True)
    subject = make_header(decode_header(str(mail["Subject"] or "")))
    return Mail(
        name=file.name,
        message_id=str(mail["Message-ID"] or "").strip(),
        to=parseaddr(str(mail["To"] or ""))[1],
        subject=str(subject),
        text=text.decode(errors="replace") if isinstance(text, bytes) else "",
    )
