"""An order's way through the gateway and both engines, in memory: what a client sees."""

import json
import logging
from collections.abc import AsyncIterator

import pytest

from bank.book import Movement
from chassis import tracing
from chassis.process import JsonFormatter
from contracts.inventory import ProductsAnswer
from contracts.orders import OrderAnswer
from inventory.catalogue import catalogue, offer_catalogue
from support.system import System, running

NAME, ADDRESS = "Zephyrine Quillfeather", "zephyrine.quillfeather@example.org"


@pytest.fixture
async def system() -> AsyncIterator[System]:
    async with running() as made:
        yield made


def envelope(event_id: str, kind: str, **payload: object) -> dict[str, object]:
    """Write an event as `dapr publish` sends it: only what is required of anyone."""
    return {
        "eventType": kind,
        "eventId": event_id,
        "timestamp": "2024-01-15T10:30:00Z",
        "version": "1.0",
        "payload": payload,
    }


def test_the_catalogue_has_plenty_little_and_nothing() -> None:
    stock = [product.stock for product in catalogue()]
    assert len({product.sku for product in catalogue()}) == len(stock) >= 50
    assert sorted(stock)[:3] == [0, 5, 1_000_000]


async def test_products_are_listed_with_price_and_stock(system: System) -> None:
    heard = await system.ask("GET", "/api/v1/products")
    listed = ProductsAnswer.model_validate(heard.json)
    assert [(p.sku, p.name, p.price) for p in listed.products] == [(p.sku, p.name, p.price) for p in catalogue()]
    assert {p.sku: p.available for p in listed.products}["PADDLE-SIGNED"] == 5


async def test_an_order_is_accepted_and_confirmed(system: System) -> None:
    heard = await system.place(PADDLE_ASH=2, CUP_ENAMEL=1)
    assert heard.status == 202
    shown = await system.ended(heard.json["orderId"])
    assert (shown["status"], shown["total"], shown["reason"]) == ("confirmed", 134.5, None)
    assert [moment["status"] for moment in shown["timeline"]] == ["pending", "reserved", "confirmed"]
    assert all(moment["at"] for moment in shown["timeline"])
    OrderAnswer.model_validate(shown)
    await system.until(lambda: system.stock("PADDLE-ASH")["committed"] == 2)
    assert system.stock("PADDLE-ASH") == {"initial": 10**6, "available": 10**6 - 2, "reserved": 0, "committed": 2}


async def test_an_order_is_paid_and_its_customer_told(system: System) -> None:
    order = (await system.place(PADDLE_ASH=2)).json["orderId"]
    await system.ended(order)
    await system.until(lambda: len(system.mails(order)) == 2 and len(system.bank.movements(order)) == 2)
    assert system.bank.movements(order) == [Movement.HELD, Movement.TAKEN]
    assert {kind: str(mail["To"]) for kind, mail in system.mails(order).items()} == dict.fromkeys(
        ["created", "confirmed"], "Ada Paddlewright <ada@example.org>"
    )


async def test_what_the_bank_declines_is_cancelled(system: System) -> None:
    order = (await system.place(CANOE_CEDAR=41)).json["orderId"]
    shown = await system.ended(order)
    assert (shown["status"], shown["reason"]) == ("cancelled", "no more than 100000.00 at once")
    await system.until(lambda: system.stock("CANOE-CEDAR")["reserved"] == 0)
    await system.until(lambda: "cancelled" in system.mails(order))
    assert system.bank.movements(order) == []


async def test_who_registers_orders_at_once_and_who_is_deactivated_orders_no_more(system: System) -> None:
    system.broker.lose = lambda topic, _entry: topic == "users"
    user = await registered(system)
    order = (await system.place(user=user, PADDLE_ASH=1)).json["orderId"]
    await system.until(lambda: "confirmed" in system.mails(order))
    assert str(system.mails(order)["confirmed"]["To"]) == f"{NAME} <{ADDRESS}>"
    await system.ask("POST", f"/api/v1/users/{user}/deactivate")
    refused = await system.place(user=user, PADDLE_ASH=1)
    assert (refused.status, refused.json["field"]) == (409, "userId")


async def test_a_name_and_an_address_are_told_to_nobody_but_the_mail(
    system: System, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    reporter = tracing.Reporter("everybody", "http://zipkin.example", per_second=1000)
    monkeypatch.setattr(tracing, "_reporters", [reporter])
    caplog.set_level(logging.DEBUG)
    caplog.handler.setFormatter(JsonFormatter())
    user = await registered(system)
    order = (await system.place(user=user, PADDLE_ASH=1)).json["orderId"]
    await system.until(lambda: "confirmed" in system.mails(order))
    others = [store for name, store in system.stores.items() if name != "users"]
    kept = "".join(row.value for store in others for row in store.rows.values())
    spans = json.dumps(list(reporter.spans), ensure_ascii=False)
    told = json.dumps(system.broker.published, ensure_ascii=False) + caplog.text + kept + spans
    assert user in told
    assert "reactor/send-mail" in spans, "else this proves nothing"
    assert not [word for word in (NAME, ADDRESS, *NAME.split()) if word in told]


async def registered(system: System) -> str:
    """Register somebody with a name of their own."""
    return (await system.ask("POST", "/api/v1/users", body={"name": NAME, "email": ADDRESS})).json["userId"]


async def test_what_is_sold_out_cancels_the_order(system: System) -> None:
    heard = await system.place(FIGUREHEAD=1, PADDLE_ASH=1)
    shown = await system.ended(heard.json["orderId"])
    assert (shown["status"], shown["reason"]) == ("cancelled", "not enough stock of FIGUREHEAD")
    assert system.stock("PADDLE-ASH")["available"] == 10**6


async def test_the_last_pieces_are_sold_once(system: System) -> None:
    heard = [await system.place(PADDLE_SIGNED=2) for _ in range(4)]
    ends = [(await system.ended(each.json["orderId"]))["status"] for each in heard]
    assert sorted(ends) == ["cancelled", "cancelled", "confirmed", "confirmed"]
    await system.until(lambda: system.stock("PADDLE-SIGNED")["committed"] == 4)
    assert system.stock("PADDLE-SIGNED") == {"initial": 5, "available": 1, "reserved": 0, "committed": 4}


async def test_a_repeated_key_is_the_same_order(system: System) -> None:
    first, again = await system.place(key="mine", PADDLE_ASH=1), await system.place(key="mine", PADDLE_ASH=1)
    other = await system.place(key="mine", PADDLE_ASH=2)
    assert first.json == again.json
    assert (other.status, other.json["title"]) == (422, "KeyReused")


async def test_an_unknown_product_names_its_field(system: System) -> None:
    heard = await system.place(PADDLE_ASH=1, UNICORN=1)
    assert (heard.status, heard.json["field"]) == (422, "items.1.sku")


async def test_an_unknown_user_names_the_field(system: System) -> None:
    items = [{"sku": "PADDLE-ASH", "quantity": 1}]
    heard = await system.ask("POST", "/api/v1/orders", body={"userId": "nobody", "items": items})
    assert (heard.status, heard.json["field"]) == (422, "userId")


async def test_an_unknown_order_is_not_found(system: System) -> None:
    assert (await system.ask("GET", "/api/v1/orders/nobody")).status == 404


async def test_a_product_whose_news_was_lost_is_asked_for(system: System) -> None:
    copies = system.stores["orders"]
    await system.until(lambda: "doc:price:CUP-ENAMEL" in copies.rows)
    system.broker.lose = lambda topic, _entry: topic == "inventory"
    await system.invoke("inventory", "change-price", {"sku": "CUP-ENAMEL", "price": 6})
    del copies.rows["doc:price:CUP-ENAMEL"]
    heard = await system.place(CUP_ENAMEL=1)
    assert heard.status == 202
    assert (await system.order(heard.json["orderId"]))["total"] == 6


async def test_a_new_price_reaches_the_next_order(system: System) -> None:
    await system.invoke("inventory", "change-price", {"sku": "CUP-ENAMEL", "price": "6.00"})

    async def dearer() -> bool:
        heard = await system.place(CUP_ENAMEL=1)
        return (await system.order(heard.json["orderId"]))["total"] == 6

    await system.until(dearer)


async def test_the_deadline_cancels_an_order_that_inventory_never_heard_of(system: System) -> None:
    system.broker.lose = lambda topic, entry: topic == "orders" and entry.event["eventType"] == "OrderCreated"
    heard = await system.place(PADDLE_ASH=1)
    system.move_clock(61)
    shown = await system.ended(heard.json["orderId"])
    assert (shown["status"], shown["reason"]) == (
        "cancelled", "not settled in time: still pending at the deadline",
    )  # fmt: skip


async def test_an_order_published_by_hand_gives_its_goods_back(system: System) -> None:
    items = [{"sku": "PADDLE-ASH", "quantity": 3, "unitPrice": 1}]
    stranger = envelope("e-1", "OrderCreated", orderId="12345", userId="user-789", items=items, total=3)
    await system.services["inventory"].deliver({"data": stranger})
    await system.services["inventory"].deliver({"data": stranger})
    assert system.stock("PADDLE-ASH")["reserved"] == 3
    system.move_clock(91)
    await system.until(lambda: system.stock("PADDLE-ASH")["reserved"] == 0)
    assert system.stock("PADDLE-ASH")["available"] == 10**6


async def test_a_restart_adds_nothing(system: System) -> None:
    before = dict(system.stores["inventory"].rows)
    await offer_catalogue(system.services["inventory"])
    assert system.stores["inventory"].rows.keys() == before.keys()
