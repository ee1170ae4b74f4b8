"""One instance per host and network namespace; a second one learns who is first."""

import json
import os
from pathlib import Path

import pytest

from outrigger.errors import LauncherError
from outrigger.instance import claim, lock_path, refusal


def test_the_second_is_refused_and_told_of_the_first(tmp_path: Path) -> None:
    first = claim(Path("/some/where"), tmp_path / "lock")
    with pytest.raises(LauncherError, match=rf"/some/where \(pid {os.getpid()}\).*outrigger down"):
        claim(Path("/else/where"), tmp_path / "lock")
    first.release()


def test_in_the_same_folder_the_sentence_is_another(tmp_path: Path) -> None:
    first = claim(tmp_path, tmp_path / "lock")
    with pytest.raises(LauncherError, match=r"runs here already .* `outrigger status`"):
        claim(tmp_path, tmp_path / "lock")
    first.release()


def test_it_is_free_again_afterwards(tmp_path: Path) -> None:
    claim(tmp_path, tmp_path / "lock").release()
    claim(tmp_path, tmp_path / "lock").release()


def test_it_dies_with_its_holder_however_that_dies(tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        claim(tmp_path, tmp_path / "lock")
        os.kill(os.getpid(), 9)
    os.waitpid(pid, 0)
    assert json.loads((tmp_path / "lock").read_text())["pid"] == pid
    claim(tmp_path, tmp_path / "lock").release()


@pytest.mark.parametrize("note", ["", "not json", "[]", "{}"])
def test_an_unreadable_note_is_no_hindrance(tmp_path: Path, note: str) -> None:
    assert "outrigger down" in refusal(tmp_path, note)


@pytest.mark.skipif(not Path("/proc/self/ns/net").exists(), reason="no network namespaces here")
def test_the_lock_is_the_network_namespace_s(tmp_path: Path) -> None:
    assert lock_path(tmp_path).name == f"outrigger-{Path('/proc/self/ns/net').stat().st_ino}.lock"
