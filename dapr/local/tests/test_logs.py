"""Log files: chosen by name, read on from where we were."""

from pathlib import Path

import pytest

from outrigger.errors import LauncherError
from outrigger.home import Home
from outrigger.logs import recent, tails


@pytest.fixture
def logs(home: Home) -> Path:
    home.logs.mkdir(parents=True)
    for name in ("orders.app", "orders.daprd", "inventory.app"):
        (home.logs / f"{name}.log").write_text(f"{name} one\n")
    return home.logs


@pytest.mark.usefixtures("logs")
def test_a_service_is_its_app_and_its_sidecar(home: Home) -> None:
    assert list(recent(tails(home, "orders"))) == ["orders.app | orders.app one", "orders.daprd | orders.daprd one"]


@pytest.mark.usefixtures("logs")
def test_one_process_or_all_can_be_asked_for(home: Home) -> None:
    assert [tail.name for tail in tails(home, "orders.daprd")] == ["orders.daprd"]
    assert len(tails(home, None)) == 3


@pytest.mark.usefixtures("logs")
def test_an_unknown_service_names_the_known(home: Home) -> None:
    with pytest.raises(LauncherError, match="no service `order`; there are inventory, orders"):
        tails(home, "order")


def test_without_logs_it_says_how_to_get_some(home: Home) -> None:
    with pytest.raises(LauncherError, match="outrigger up"):
        tails(home, None)


def test_only_whole_new_lines_come(home: Home, logs: Path) -> None:
    (tail,) = tails(home, "inventory")
    assert list(recent([tail])) == ["inventory.app | inventory.app one"]
    with (logs / "inventory.app.log").open("a") as log:
        log.write("two\nthr")
    assert list(tail.fresh()) == ["inventory.app | two"]
    (logs / "inventory.app.log").write_text("anew\n")
    assert list(tail.fresh()) == ["inventory.app | anew"]
