"""A test run that is told to end, by whoever has no more time for it, leaves nothing behind."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

from chassis_testing.sidecars import poll
from support.installation import REPOSITORY

TEST = """
import signal
from pathlib import Path

import pytest


@pytest.fixture
def server():
    yield
    Path("ended").touch()


def test_waits(server):
    Path("started").touch()
    signal.pause()
"""


def test_what_fixtures_started_is_ended_by_sigterm(tmp_path: Path) -> None:
    shutil.copy(REPOSITORY / "conftest.py", tmp_path)
    (tmp_path / "pytest.ini").touch()
    (tmp_path / "test_waiting.py").write_text(TEST)
    with subprocess.Popen([sys.executable, "-m", "pytest", "-p", "no:cacheprovider"], cwd=tmp_path) as run:
        try:
            poll((tmp_path / "started").exists, seconds=60, what="the test waits")
            run.send_signal(signal.SIGTERM)
            assert run.wait(timeout=60) == 128 + signal.SIGTERM
            assert (tmp_path / "ended").exists()
        finally:
            run.kill()
