"""Where servers run, and what the images are called."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from servers import engine


@pytest.fixture(autouse=True)
def no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody")
    monkeypatch.delenv("CONTAINERS", raising=False)
    asked = engine.engine
    asked.cache_clear()
    yield
    asked.cache_clear()


def test_without_an_engine_they_are_processes() -> None:
    assert not engine.contained()
    assert engine.used() == engine.PROCESSES


def test_containers_that_are_asked_for_and_cannot_be_had_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTAINERS", "yes")
    with pytest.raises(RuntimeError, match="no Docker engine answers"):
        engine.contained()


def test_no_engine_is_asked_where_processes_are_wished_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "engine", lambda: pytest.fail("it was asked"))
    monkeypatch.setenv("CONTAINERS", "no")
    assert engine.used() == engine.PROCESSES


@pytest.mark.parametrize("name", engine.IMAGES)
def test_an_image_is_named_without_a_registry_and_can_be_another(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _, rest = engine.image(name).partition("/")
    assert not rest or not set(first) & {".", ":"}
    monkeypatch.setenv(f"IMAGE_{name.upper()}", "mine/server:local")
    assert engine.image(name) == "mine/server:local"
