"""The README keeps its word: what stands in its ```sh blocks is run, in order, against the running system."""

import re
from pathlib import Path

import pytest

from support.installation import REPOSITORY, Installation

TARGETS = {"run", "test", "bench", "setup"}  # of make: they are not run here, but must be there
FAIL = 'set -eo pipefail; curl() { command curl --fail --silent --show-error "$@"; }; '


def blocks(text: str, language: str = "sh") -> list[str]:
    """Return the fenced blocks of a language; fails where there is none."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert found, f"the README has no ```{language} block"
    return found


def commands(text: str) -> list[str]:
    """Return the commands of all blocks; a line that ends with a backslash goes on."""
    lines = "".join(blocks(text)).replace("\\\n", " ").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def is_make(command: str) -> bool:
    """Tell whether a command is a target that is not run here."""
    words = command.split()
    return words[0] == "make" and set(words[1:]) <= TARGETS


def missing_targets(text: str, makefile: str) -> list[str]:
    """Return the targets that code in the README names and the Makefile lacks."""
    code = re.findall(r"^```\w*\n(.*?)^```$|`([^`\n]+)`", text, re.MULTILINE | re.DOTALL)
    named = re.findall(r"\bmake ([a-z-]+)", "\n".join(block + span for block, span in code))
    return sorted(target for target in set(named) if not re.search(rf"^{target}:", makefile, re.MULTILINE))


@pytest.fixture(scope="module")
def readme() -> str:
    return (REPOSITORY / "README.md").read_text()


@pytest.mark.e2e
@pytest.mark.timeout(600)
def test_every_command_works(system: Installation, readme: str) -> None:
    for command in commands(readme):
        if is_make(command):
            continue
        here = command.replace("127.0.0.1:8080", f"127.0.0.1:{system.port}")
        done = system.shell("bash", "-c", FAIL + here, within=320)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


def test_every_make_target_exists(readme: str) -> None:
    assert missing_targets(readme, (REPOSITORY / "Makefile").read_text()) == []


def test_notifications_is_printed_as_it_is(readme: str) -> None:
    app = REPOSITORY / "apps" / "notifications" / "notifications"
    assert blocks(readme, "python") == [(app / f"{name}.py").read_text() for name in ("domain", "mail", "main")]


def test_a_readme_without_commands_is_noticed() -> None:
    with pytest.raises(AssertionError, match="no ```sh block"):
        commands("# Title\n\n```\nplain\n```\n")


def test_commands_are_found_in_order() -> None:
    text = "```sh\n# why\nfirst \\\n  --more\nmake run\n```\ntext `make absent`\n```sh\nsecond\n```\n"
    assert [" ".join(each.split()) for each in commands(text)] == ["first --more", "make run", "second"]
    assert is_make("make run")
    assert not is_make("make mischief")
    assert missing_targets(text, "run: setup\n") == ["absent"]


def test_every_folder_that_the_readme_names_exists(readme: str) -> None:
    named = re.findall(r"`((?:apps|components|dapr|tests|docs)/[^`*:{ ]*)`", readme)
    assert [name for name in named if not Path(REPOSITORY, name).exists()] == []
