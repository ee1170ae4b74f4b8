"""The state file: what it says of processes is checked against the kernel."""

import os
from pathlib import Path

from outrigger.state import Phase, ProcessState, RunState, read_run


def run(folder: Path, launcher: ProcessState) -> RunState:
    return RunState(name="x", folder=str(folder), phase=Phase.READY, launcher=launcher, gateway="http://127.0.0.1:8080")


def test_it_survives_the_way_to_disk(tmp_path: Path) -> None:
    state = run(tmp_path, ProcessState.of(os.getpid(), "launcher"))
    state.save(tmp_path / "deep/run.json")
    assert read_run(tmp_path / "deep/run.json") == state
    assert state.alive()


def test_none_or_a_broken_one_is_none(tmp_path: Path) -> None:
    assert read_run(tmp_path / "none.json") is None
    (tmp_path / "broken.json").write_text('{"name": ')
    assert read_run(tmp_path / "broken.json") is None


def test_a_process_id_that_is_used_again_is_another_process(tmp_path: Path) -> None:
    own = ProcessState.of(os.getpid(), "launcher")
    assert own.born
    reused = own.model_copy(update={"born": own.born - 100})
    assert not run(tmp_path, reused).alive()
