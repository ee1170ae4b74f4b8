"""Every member declares what it imports, and imports what it declares: each can be built and deployed alone."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MEMBERS = sorted(file.parent for pattern in ("apps/*", "dapr/local") for file in ROOT.glob(f"{pattern}/pyproject.toml"))


def test_there_are_members() -> None:
    assert {"chassis", "contracts", "gateway", "inventory", "orders", "local"} <= {member.name for member in MEMBERS}


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.name)
def test_a_member_declares_what_it_imports(member: Path) -> None:
    deptry = Path(sys.executable).with_name("deptry")
    done = subprocess.run([deptry, ".", "--no-ansi"], cwd=member, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
