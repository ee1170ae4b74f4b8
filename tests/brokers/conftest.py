"""One sidecar a broker for all tests of a class, and the book of a session."""

from collections.abc import Iterator

import pytest

from brokers.book import Book
from brokers.side import Side, side_on
from outrigger.choice import Broker
from servers.engine import used


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say where brokers and their sidecars ran."""
    terminalreporter.write_line(f"Brokers, stores and sidecars that tests started one by one: {used()}")


@pytest.fixture(scope="class")
def side(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Side]:
    """Run a sidecar on the broker that the class names."""
    assert request.cls
    broker = Broker(request.cls.broker)
    with side_on(tmp_path_factory.mktemp(broker) / "a folder", broker) as side:
        yield side


@pytest.fixture(scope="session")
def book() -> Iterator[Book]:
    """Give what is noted in; kept at the end."""
    book = Book()
    yield book
    book.keep()
