"""What a mail looks like, to whom it goes, and what happens where it cannot be sent."""

import email
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import default

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st
from pydantic import TypeAdapter

from chassis.problems import NotFound
from chassis.sidecar import Unanswered
from contracts.users import Email, UserAnswer
from notifications.domain import DropMail, MailDue
from notifications.mail import compose, send
from support.outside import Answers, Elsewhere

DUE = MailDue(
    mail_id="created-o-1",
    user_id="user-2",
    title="Your order o-1 is created",
    text="2 x TEA\n\nTotal: 9.00",
    at=datetime(2024, 1, 15, 10, 30, tzinfo=UTC),
)
BJORN = UserAnswer(user_id="user-2", name="Björn Årlund", email="bjorn@example.org", active=True)
ASKED = "users", "contact"
NOBODY = NotFound("there is no user user-2")


def read(text: str) -> EmailMessage:
    message = email.message_from_bytes(text.encode(), policy=default)
    assert isinstance(message, EmailMessage)
    assert message.defects == []
    return message


def elsewhere(answer: object) -> Elsewhere:
    answers: Answers = {ASKED: answer}
    return Elsewhere(answers)


def test_a_mail_is_what_mail_programs_expect() -> None:
    mail = read(compose(DUE, BJORN))
    assert mail["Message-ID"] == "<created-o-1@outrigger.example>"
    assert mail["Date"].datetime == DUE.at
    assert str(mail["To"]) == "Björn Årlund <bjorn@example.org>"
    assert (mail["Subject"], mail.get_content_charset()) == (DUE.title, "utf-8")


def test_it_can_be_read_without_a_mail_program() -> None:
    head, _, body = compose(DUE, BJORN).partition("\r\n\r\n")
    assert head.isascii()
    assert body == "Dear Björn Årlund,\r\n\r\nYour order o-1 is created.\r\n\r\n2 x TEA\r\n\r\nTotal: 9.00\r\n"


def test_the_same_mail_twice_is_the_same_bytes() -> None:
    assert compose(DUE, BJORN) == compose(DUE, BJORN)


names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=[*map(chr, range(32)), "\x7f"]), min_size=1)


@for_all(name=names.filter(lambda name: len(name) <= 100), data=st.data())
def test_whoever_may_register_can_be_written_to(name: str, data: st.DataObject) -> None:
    address = data.draw(st.from_regex(_pattern(), fullmatch=True).filter(lambda text: len(text) <= 254))
    mail = read(compose(DUE, BJORN.model_copy(update={"name": name, "email": address})))
    assert [one.addr_spec for one in mail["To"].addresses] == [address]


def _pattern() -> str:
    return TypeAdapter(Email).json_schema()["pattern"]


async def test_a_mail_is_handed_over_under_its_own_name() -> None:
    outside = elsewhere(BJORN.model_dump(by_alias=True))
    assert await send(DUE, outside) is None
    assert outside.asked == [(*ASKED, {"userId": "user-2"})]
    assert outside.bound == [("mail", "create", compose(DUE, BJORN), {"fileName": "created-o-1.eml"})]


async def test_nobody_writes_to_nobody() -> None:
    outside = elsewhere(NOBODY)
    assert await send(DUE, outside) == DropMail(mail_id="created-o-1", reason="there is no user user-2")
    assert outside.bound == []


async def test_no_answer_is_no_reason_to_drop_a_mail() -> None:
    with pytest.raises(Unanswered):
        await send(DUE, elsewhere(Unanswered("users is away")))


@pytest.mark.parametrize("title", ["two\nlines", "two\u2028lines"])
async def test_what_no_header_can_hold_is_dropped(title: str) -> None:
    outside = elsewhere(BJORN.model_dump(by_alias=True))
    dropped = await send(DUE.model_copy(update={"title": title}), outside)
    assert dropped
    assert "linefeed" in dropped.reason
    assert outside.bound == []


async def test_the_reason_does_not_quote_an_address_that_is_none() -> None:
    dropped = await send(DUE, elsewhere(BJORN.model_dump(by_alias=True) | {"email": "bjorn..at home"}))
    assert dropped
    assert "bjorn" not in dropped.reason
