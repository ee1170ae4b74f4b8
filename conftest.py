"""Loaded before any test: pytest gives test modules parents of its own, and the folder `dapr` is not all of `dapr`."""

import signal
from typing import Any

import dapr  # noqa: F401 - the SDK's, which lies beside the folder; what stands in sys.modules is left alone
import pytest
from hypothesis import settings

settings.register_profile("any machine", deadline=None)  # how long an example takes is the machine's affair
settings.load_profile("any machine")


def pytest_configure(config: pytest.Config) -> None:
    """Let a run that is told to end (SIGTERM) end what its fixtures have started, as Ctrl-C does."""
    if not hasattr(config, "workerinput"):  # a worker of xdist's is told by the one that began it
        signal.signal(signal.SIGTERM, _end)


def _end(*_: Any) -> None:
    pytest.exit("told to end", returncode=128 + signal.SIGTERM)
