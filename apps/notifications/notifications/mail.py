"""What a mail looks like, and how it leaves: at least once, so it replaces itself where it comes again."""

from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP

from chassis.problems import NotFound
from chassis.rules import Outside
from contracts.users import UserAnswer
from notifications.domain import DropMail, MailDue, rules


def compose(due: MailDue, user: UserAnswer) -> str:
    """Write a mail, in UTF-8. Raises ValueError for what no header can hold."""
    mail = EmailMessage(policy=SMTP)
    mail["Message-ID"] = f"<{due.mail_id}@outrigger.example>"
    mail["Date"] = due.at
    mail["From"] = Address("Outrigger", "orders", "outrigger.example")
    mail["To"] = Address(user.name, addr_spec=user.email)
    mail["Subject"] = due.title
    mail.set_content(f"Dear {user.name},\n\n{due.title}.\n\n{due.text}\n")
    return mail.as_bytes().decode()


@rules.reactor("send-mail", MailDue, concurrency=8, attempts=1000)  # users may be away for an hour
async def send(due: MailDue, outside: Outside) -> DropMail | None:
    """Ask for the address only now, for no event holds one, and hand the mail over."""
    try:
        user = await outside.invoke("users", "contact", {"userId": due.user_id})
        text = compose(due, UserAnswer.model_validate(user))
    except (NotFound, ValueError) as failure:
        return DropMail(mail_id=due.mail_id, reason=str(failure))
    return await outside.bind("mail", "create", text, {"fileName": f"{due.mail_id}.eml"})
