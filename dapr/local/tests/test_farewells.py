"""Real small processes that, like daprd, say of the first SIGTERM that they heard it, and go at the second."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from outrigger.commands import Command
from outrigger.farewells import HEARD, tell_again
from outrigger.processes import Backoff, Child

TWICE = f"""
import signal, time
def first(*_):
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    print("Received signal 'terminated'{HEARD}", flush=True)
signal.signal(signal.SIGTERM, first)
print("ready", flush=True)
time.sleep(60)
"""


def child_of(folder: Path) -> Child:
    argv = (sys.executable, "-c", TWICE)
    command = Command("child", Path(sys.executable), argv, folder, dict(os.environ), folder / "log")
    return Child(command, lambda _: None, Backoff(first=0.01))


async def until_said(folder: Path, word: str, times: int) -> None:
    async with asyncio.timeout(30):
        while (folder / "log").read_text().count(word) < times:
            await asyncio.sleep(0.02)


async def told_once(folder: Path) -> tuple[Child, int, asyncio.Task[None]]:
    """Return a child that was just told to end, its process id, and what is to tell it again."""
    child = child_of(folder)
    await child.start()
    first, telling = child.pid, asyncio.create_task(tell_again(child))
    await until_said(folder, "ready", 1)
    assert first
    os.kill(first, signal.SIGTERM)
    return child, first, telling


async def test_who_is_told_once_is_told_again(tmp_path: Path) -> None:
    child, _, telling = await told_once(tmp_path)
    await asyncio.wait_for(telling, 30)
    await until_said(tmp_path, "ready", 2)
    assert child.last_exit == -signal.SIGTERM
    await child.stop(grace=0)


async def test_its_successor_is_left_alone(tmp_path: Path) -> None:
    child, first, telling = await told_once(tmp_path)
    await until_said(tmp_path, HEARD, 1)
    os.kill(first, signal.SIGKILL)
    await asyncio.wait_for(telling, 30)
    await until_said(tmp_path, "ready", 2)
    assert (child.restarts, child.last_exit) == (1, -signal.SIGKILL)
    assert (tmp_path / "log").read_text().count(HEARD) == 1
    await child.stop(grace=0)
