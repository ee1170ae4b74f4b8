"""What every broker must do behind a sidecar with our components: one test a behaviour, inherited once a broker.

What differs is noted in the book, which becomes the table of docs/brokers.md.
"""

import time
from collections.abc import Iterator
from typing import ClassVar

import pytest

from brokers.book import Book
from brokers.consumer import DROP, GRAVE, RETRY, SUCCESS
from brokers.side import Side, fresh
from chassis.daprd import Daprd
from chassis.keys import EVENT_BYTES
from chassis.sidecar import Entry, Refused
from chassis.wire import BODY_BYTES
from outrigger.choice import Broker
from support.polling import eventually

RETRIES = 6  # of components/platform/resiliency.yaml
AWAY = 30.0  # s, thrice what the retries bridge
BURST = 20_000


class Contract:
    """Subclass it and name the broker."""

    broker: ClassVar[Broker]

    @pytest.fixture(autouse=True)
    def well(self, side: Side) -> Iterator[None]:
        """Begin and end with an app that takes everything."""
        side.consumer.verdict = lambda _: SUCCESS
        yield
        side.consumer.verdict = lambda _: SUCCESS

    def test_everything_arrives_once(self, side: Side, book: Book) -> None:
        names = fresh(500)
        assert side.publish(names) == set()
        eventually(lambda: side.consumer.has(names), within=30, what="all have come")
        assert {side.consumer.times(name) for name in names} == {1}
        book.note(self.broker, "500 messages, nobody disturbs", "each arrives once")

    def test_a_large_message_arrives_whole(self, side: Side, book: Book) -> None:
        names = fresh(3)
        assert side.publish(names, size=EVENT_BYTES) == set()
        eventually(lambda: side.consumer.has(names), within=30, what="the large ones have come")
        assert {side.consumer.sizes[name] for name in names} == {EVENT_BYTES}
        book.note(self.broker, "a message of 256 KiB, the largest that services write", "arrives whole")

    async def test_a_larger_request_than_a_sidecar_takes_is_refused_in_words(self, side: Side, book: Book) -> None:
        daprd = Daprd(side.url)
        with pytest.raises(Refused, match="split it"):
            await daprd.publish("news", [Entry("1", {"payload": "x" * BODY_BYTES}, "")])
        await daprd.close()
        book.note(self.broker, "more than 4 MiB at once", "refused before it is sent, with the limit")

    def test_what_is_answered_retry_is_tried_again_and_then_dead_lettered(self, side: Side, book: Book) -> None:
        names = fresh(10)
        bad = names[3]
        side.consumer.verdict = lambda name: RETRY if name == bad else SUCCESS
        side.publish(names)
        eventually(lambda: side.consumer.times(bad, GRAVE), within=60, what="it is dead-lettered")
        assert side.consumer.times(bad) == 1 + RETRIES
        assert {side.consumer.times(name) for name in names if name != bad} == {1}
        book.note(self.broker, "one of ten is answered RETRY for ever", "7 tries, dead letter; its neighbours once")

    def test_what_is_answered_drop_is_dead_lettered_at_once(self, side: Side, book: Book) -> None:
        names = fresh(10)
        bad = names[3]
        side.consumer.verdict = lambda name: DROP if name == bad else SUCCESS
        side.publish(names)
        eventually(lambda: side.consumer.times(bad, GRAVE), within=30, what="it is dead-lettered")
        assert {side.consumer.times(name) for name in names} == {1}
        book.note(self.broker, "one of ten is answered DROP", "dead letter at once; its neighbours once")

    def test_later_messages_wait_for_one_that_is_tried_again_and_no_longer(self, side: Side, book: Book) -> None:
        (bad,), late = fresh(1), fresh(5)
        side.consumer.verdict = lambda name: RETRY if name == bad else SUCCESS
        side.publish([bad])
        eventually(lambda: side.consumer.times(bad), within=30, what="the bad one has come")
        side.publish(late)
        eventually(lambda: side.consumer.has(late), within=60, what="the late ones have come")
        waited = side.consumer.times(bad) == 1 + RETRIES
        eventually(lambda: side.consumer.times(bad, GRAVE), within=60, what="it is dead-lettered")
        told = "wait until its retries are over (10 s); so our services never answer RETRY" if waited else "overtake it"
        book.note(self.broker, "messages behind one that is tried again", told)

    def test_what_comes_while_the_app_is_away_arrives(self, side: Side, book: Book) -> None:
        names = fresh(50)
        side.consumer.stop()
        side.publish(names)
        began = time.monotonic()
        eventually(lambda: time.monotonic() - began > AWAY, within=AWAY + 5)  # the span itself is what is tested
        side.consumer.start()
        arrived = lambda name: side.consumer.times(name) or side.consumer.times(name, GRAVE)  # noqa: E731
        eventually(lambda: all(map(arrived, names)), within=60, what="all have come, on one of two ways")
        book.note(self.broker, "the app is away for 30 s", "all arrive, some by the dead-letter topic")

    def test_what_a_killed_sidecar_had_taken_arrives(self, side: Side, book: Book) -> None:
        names = fresh(300)
        side.publish(names)
        side.sidecar.kill()
        side.sidecar.start()
        eventually(lambda: side.consumer.has(names), within=60, what="all have come")
        side.gets_through(within=60)  # all may have come before it was killed
        book.note(
            self.broker, "the sidecar is killed as 300 arrive", "all arrive; twice is possible, inboxes absorb it"
        )

    def test_what_waits_in_the_broker_outlives_its_restart(self, side: Side, book: Book) -> None:
        names = fresh(50)
        side.consumer.stop()
        assert side.publish(names) == set()
        side.server.end()
        side.server.start()
        side.consumer.start()
        arrived = lambda name: side.consumer.times(name) or side.consumer.times(name, GRAVE)  # noqa: E731
        eventually(lambda: all(map(arrived, names)), within=90, what="all have come, on one of two ways")
        book.note(self.broker, "the broker is restarted while 50 wait in it", "all arrive")

    def test_a_killed_broker_is_found_again(self, side: Side, book: Book) -> None:
        side.server.kill()
        names = fresh(10)
        assert side.publish(names), "a broker that is not there took everything"
        side.server.start()
        side.surely(names)
        eventually(lambda: side.consumer.has(names), within=60, what="all have come")
        book.note(self.broker, "published while the broker is down", "not taken; taken and delivered once it is back")

    def test_a_sidecar_gives_up_without_a_broker_and_works_when_it_is_started_again(
        self, side: Side, book: Book
    ) -> None:
        side.sidecar.end()
        side.server.end()
        side.sidecar.start()
        side.sidecar.wait()
        side.server.start()
        side.sidecar.start()
        side.gets_through(within=60)
        book.note(self.broker, "no broker when the sidecar starts", "the sidecar ends; started again later, it works")

    @pytest.mark.timeout(400)
    def test_a_burst_is_delivered(self, side: Side, book: Book) -> None:
        names = fresh(BURST)
        began = time.monotonic()
        side.surely(names, within=300)
        published = time.monotonic() - began
        eventually(lambda: side.consumer.has(names), within=300, what="the burst has come")
        delivered = time.monotonic() - began
        book.measure(self.broker, "published a second, 20,000 in bulks of 200", BURST / published)
        book.measure(self.broker, "delivered a second, the same 20,000", BURST / delivered)
