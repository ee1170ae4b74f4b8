"""The file behind the secret store: made once, whole, and its owner's alone."""

import json
import stat
from pathlib import Path

import pytest

from outrigger.errors import LauncherError
from outrigger.secretfile import BANK_KEY, make_secrets


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".outrigger" / "secrets.json"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_it_holds_a_long_random_key_for_its_owner_alone(path: Path) -> None:
    make_secrets(path)
    assert len(json.loads(path.read_text())[BANK_KEY]) >= 40
    assert mode(path) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_what_is_there_stays(path: Path) -> None:
    make_secrets(path)
    before = path.read_text()
    path.chmod(0o644)
    make_secrets(path)
    assert (path.read_text(), mode(path)) == (before, 0o600)


def test_other_secrets_are_kept(path: Path) -> None:
    path.parent.mkdir()
    path.write_text('{"of-somebody-else": "theirs"}')
    make_secrets(path)
    assert json.loads(path.read_text()).keys() == {"of-somebody-else", BANK_KEY}


@pytest.mark.parametrize("text", ["half of i", "[1]", '"bank-api-key: hunter2"'])
def test_what_cannot_be_read_is_not_overwritten_and_not_shown(path: Path, text: str) -> None:
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(LauncherError, match="delete it") as refused:
        make_secrets(path)
    assert text not in str(refused.value)
    assert path.read_text() == text
