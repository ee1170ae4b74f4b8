"""How a command and the launcher talk: one change at a time, failures in words, nobody waits for one that is gone."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from outrigger.control import Act, Control, Tell, Wish, ask
from outrigger.errors import LauncherError
from outrigger.ports import free_ports
from outrigger.state import Phase, ProcessState, RunState


@asynccontextmanager
async def controlled(act: Act) -> AsyncIterator[tuple[Control, Callable[..., asyncio.Future[str]]]]:
    """Listen; yields what asks, as another process would, and collects what is told."""
    control = Control(act)
    await control.open()

    def asking(wish: Wish, tell: Tell = lambda _: None) -> asyncio.Future[str]:
        return asyncio.ensure_future(asyncio.to_thread(ask, run_at(control.port), wish, tell))

    yield control, asking
    await control.close()


def run_at(port: int) -> RunState:
    launcher = ProcessState.of(os.getpid(), "launcher")
    return RunState(name="x", folder="/", phase=Phase.READY, launcher=launcher, gateway="", control=port)


async def test_what_is_told_on_the_way_and_what_came_of_it_are_heard() -> None:
    async def act(wish: Wish, tell: Tell) -> str:
        tell("half done")
        return f"done: {wish}"

    notes: list[str] = []
    async with controlled(act) as (_, asking):
        assert await asking({"change": "swap"}, notes.append) == "done: {'change': 'swap'}"
    assert notes == ["half done"]


async def test_a_second_change_is_refused_while_one_is_made_and_taken_after_it() -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    async def act(wish: Wish, tell: Tell) -> str:
        begun.set()
        await go.wait()
        return "done"

    async with controlled(act) as (_, asking):
        first = asking({"change": "swap", "broker": "kafka"})
        await begun.wait()
        with pytest.raises(LauncherError, match="busy with `swap kafka`: wait until that is done"):
            await asking({"change": "wipe-broker"})
        go.set()
        assert await first == "done"
        assert await asking({"change": "wipe-broker"}) == "done"


@pytest.mark.parametrize(
    ("fault", "words"), [(LauncherError("no kayak"), "^no kayak$"), (ValueError("secret"), "see .*launcher.log")]
)
async def test_a_failure_is_told_in_words(fault: Exception, words: str) -> None:
    async def act(wish: Wish, tell: Tell) -> str:
        raise fault

    async with controlled(act) as (_, asking):
        with pytest.raises(LauncherError, match=words):
            await asking({"change": "swap"})


async def test_a_launcher_that_ends_says_so() -> None:
    begun = asyncio.Event()

    async def act(wish: Wish, tell: Tell) -> str:
        begun.set()
        return await asyncio.Future()

    async with controlled(act) as (control, asking):
        asked = asking({"change": "swap"})
        await begun.wait()
        await control.close()
        with pytest.raises(LauncherError, match="ended before"):
            await asked


async def test_who_does_not_speak_its_language_changes_nothing() -> None:
    async def act(wish: Wish, tell: Tell) -> str:
        raise AssertionError(wish)

    async with controlled(act) as (control, _):
        for words in (b"POST / HTTP/1.1\r\n\r\n{}\n", b"[1]\n", b"\n", b"7\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", control.port)
            writer.write(words)
            assert await reader.read() == b""
            writer.close()


def test_nobody_there_is_said() -> None:
    (port,) = free_ports(1)
    with pytest.raises(LauncherError, match="does not answer"):
        ask(run_at(port), {"change": "swap"}, lambda _: None)
