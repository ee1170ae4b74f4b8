"""What a mail looks like, and how it leaves: at least once, so it replaces itself where it comes again."""

from email.headerregistry import Address, HeaderRegistry
from email.policy import default
from email.utils import format_datetime
from functools import lru_cache

from chassis.problems import NotFound
from chassis.rules import Outside
from contracts.users import UserAnswer
from notifications.domain import DropMail, MailDue, rules

to = lru_cache(1000)(lambda name, email: HeaderRegistry()("To", Address(name, addr_spec=email)).fold(policy=default))


def compose(due: MailDue, user: UserAnswer) -> str:
    """Write a mail, in UTF-8. Raises ValueError for what no header can hold."""
    subject = default.header_store_parse("Subject", due.title)[1].fold(policy=default)
    head = f"Message-ID: <{due.mail_id}@outrigger.example>\nDate: {format_datetime(due.at)}\nMIME-Version: 1.0\n"
    head += 'Content-Type: text/plain; charset="utf-8"\nContent-Transfer-Encoding: 8bit\n'
    head += f"From: Outrigger <orders@outrigger.example>\n{to(user.name, user.email)}{subject}"
    return (head + f"\nDear {user.name},\n\n{due.title}.\n\n{due.text}\n").replace("\n", "\r\n")


@rules.reactor("send-mail", MailDue, concurrency=8, attempts=1000)  # users may be away for an hour
async def send(due: MailDue, outside: Outside) -> DropMail | None:
    """Ask for the address only now, for no event holds one, and hand the mail over."""
    try:
        user = await outside.invoke("users", "contact", {"userId": due.user_id}, fresh_for=60)
        text = compose(due, UserAnswer.model_validate(user))
    except (NotFound, ValueError) as failure:
        return DropMail(mail_id=due.mail_id, reason=str(failure))
    return await outside.bind("mail", "create", text, {"fileName": f"{due.mail_id}.eml"})
