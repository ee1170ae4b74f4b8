"""What reaches the people who order: users and notifications on real sidecars, and a folder of mails."""

from uuid import uuid4

import pytest

from support.customer import Crowd, Customer
from support.events import envelope
from support.installation import Installation
from support.mail import mails_of
from support.polling import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

NAME, ADDRESS = "Zoë Flusslauf", "zoe.flusslauf@example.org"
ORDERS = 40


@pytest.fixture
def zoe(system: Installation) -> Customer:
    """Return somebody who registered just now: what happens next may overtake the news of it."""
    heard = Customer(system, "").ask("POST", "/api/v1/users", {"name": NAME, "email": ADDRESS})
    assert heard.status == 201, heard.content
    return Customer(system, heard.json["userId"])


def names(system: Installation, *orders: str) -> set[str]:
    """Return which mails about some orders are there."""
    return set(mails_of(system.home.mail, orders))


def test_an_order_leaves_two_mails_that_anybody_can_read(system: Installation, zoe: Customer) -> None:
    order = zoe.accepted("CUP-ENAMEL", 3)
    zoe.ended(order)
    eventually(lambda: len(names(system, order)) == 2, within=20, what="two mails")
    created, confirmed = (mails_of(system.home.mail, [order])[f"{kind}-{order}"] for kind in ("created", "confirmed"))
    assert created["Message-ID"] == f"<created-{order}@outrigger.example>"
    for mail in (created, confirmed):
        (to,) = mail["To"].addresses
        assert (to.display_name, to.addr_spec) == (NAME, ADDRESS)
        hello, _, what, _, goods, *_ = mail.get_content().splitlines()
        assert (hello, goods) == (f"Dear {NAME},", "3 x CUP-ENAMEL")
        assert what.startswith(f"Your order {order} is c")
    moments = {moment["status"]: moment["at"] for moment in zoe.shown(order)["timeline"]}
    assert created["Date"].datetime.isoformat()[:19] == moments["pending"][:19]
    assert confirmed["Date"].datetime.isoformat()[:19] == moments["confirmed"][:19]


def test_a_cancelled_order_says_why(system: Installation, zoe: Customer) -> None:
    order = zoe.accepted("PADDLE-SIGNED", 6)
    eventually(lambda: f"cancelled-{order}" in names(system, order), within=20)
    text = mails_of(system.home.mail, [order])[f"cancelled-{order}"].get_content()
    assert "The reason: not enough stock of PADDLE-SIGNED" in text


@pytest.mark.parametrize("victim", ["notifications.app", "notifications.daprd", "users.app"])
def test_killed_while_it_writes_it_writes_no_other_mail(system: Installation, zoe: Customer, victim: str) -> None:
    with Crowd(zoe, ["DRYBAG-10", "MAP-COAST"], ORDERS) as crowd:
        eventually(lambda: names(system, *crowd.accepted.values()), within=30, pause=0.005, what="the first mail")
        before = {file: text for file in system.home.mail.iterdir() if (text := file.read_bytes())}
        back = system.kill(victim)
    eventually(back, within=30, what=f"{victim} is started again")
    orders = list(crowd.accepted.values())
    assert {zoe.ended(order)["status"] for order in orders} == {"confirmed"}
    wanted = {f"{kind}-{order}" for order in orders for kind in ("created", "confirmed")}
    eventually(lambda: names(system, *orders) == wanted, within=60, what="a mail of each kind for each order")
    assert {file: file.read_bytes() for file in before} == before


def test_without_users_orders_of_known_users_are_accepted_and_their_mails_come_later(system: Installation) -> None:
    known = Customer(system, "user-10")  # who has had no mail yet: an address that was asked lately is used again
    with system.frozen("users.app", "users.daprd"):
        orders = [known.accepted("MAP-COAST") for _ in range(3)]
        assert {known.ended(order)["status"] for order in orders} == {"confirmed"}
        assert names(system, *orders) == set()
    eventually(lambda: len(names(system, *orders)) == 6, within=90, what="the mails")
    mails = mails_of(system.home.mail, orders).values()
    assert {str(mail["To"]) for mail in mails} == {"川辺 純 <jun.kawabe@example.org>"}


def test_who_was_deactivated_orders_nothing_more(system: Installation, zoe: Customer) -> None:
    order = zoe.accepted("MAP-COAST")
    assert zoe.ask("POST", f"/api/v1/users/{zoe.user}/deactivate").status == 200
    eventually(lambda: zoe.order("MAP-COAST").status == 409, within=15, what="orders hears of it")
    assert zoe.order("MAP-COAST").json["field"] == "userId"
    assert zoe.ended(order)["status"] == "confirmed"
    eventually(lambda: len(names(system, order)) == 2, within=20, what="an open order goes its way, with its mails")


def test_nobody_hears_of_an_order_that_nobody_placed(system: Installation) -> None:
    order, stranger = str(uuid4()), f"stranger-{uuid4()}"
    line = {"sku": "CART-PORTAGE", "quantity": 1, "unitPrice": 10.0}
    payload = {"orderId": order, "userId": stranger, "items": [line], "total": 10.0}
    for _ in range(2):
        system.publish("orders", envelope("OrderCreated", payload))
    reason = eventually(lambda: dropped(system, order), within=15, what="the mail is given up")
    assert reason.startswith(f"there is no user {stranger}")
    assert names(system, order) == set()


def dropped(system: Installation, order: str) -> str | None:
    """Read why an order's first mail was not sent."""
    state = system.document("notifications", f"mail/created-{order}")
    return state["dropped"] if state else None
