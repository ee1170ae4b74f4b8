"""Finding daprd, and building it once."""

import re
import sys
from pathlib import Path

import pytest

from outrigger import golang, runtime, runtime_build
from outrigger.errors import LauncherError
from outrigger.home import Home

FAKE_GO = """#!/bin/sh
exec "{python}" - "$@" <<'EOF'
import os, pathlib, sys
if sys.argv[1] == "version":
    print("go version go1.27.3 linux/amd64")
elif os.environ.get("FAKE_GO_FAILS"):
    sys.exit("go: no network")
else:
    target = pathlib.Path(sys.argv[sys.argv.index("-o") + 1])
    for name in ("daprd", "placement"):
        (target / name).write_text("#!/bin/sh" + chr(10) + "echo 1.14.0")
        (target / name).chmod(0o755)
EOF
"""


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def fake_daprd(path: Path, version: str) -> Path:
    return script(path, f"#!/bin/sh\necho {version}\n")


@pytest.fixture(autouse=True)
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing installed, nothing cached, a Go that only pretends."""
    script(tmp_path / "bin/go", FAKE_GO.format(python=sys.executable))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OUTRIGGER_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("DAPRD", raising=False)
    monkeypatch.delenv("FAKE_GO_FAILS", raising=False)


@pytest.mark.parametrize(
    ("text", "version"),
    [("1.14.0\n", (1, 14, 0)), ("v1.15.2-rc.1", (1, 15, 2)), ("edge", None), ("", None), ("dapr 1.14.0", None)],
)
def test_versions_are_read(text: str, version: runtime.Version | None) -> None:
    assert runtime.parse_version(text) == version


def test_go_versions_are_read() -> None:
    assert golang.parse_go_version("go version go1.27.3 linux/amd64") == (1, 27)
    assert golang.parse_go_version("devel") is None


def test_an_installed_daprd_is_taken(tmp_path: Path, home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    installed = fake_daprd(tmp_path / "bin/daprd", "1.14.0")
    assert runtime.daprd(home) == installed
    assert capsys.readouterr().err == ""


def test_an_untested_version_is_taken_with_a_notice(
    tmp_path: Path, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    installed = fake_daprd(tmp_path / "home/.dapr/bin/daprd", "1.16.2")
    assert runtime.daprd(home) == installed
    assert capsys.readouterr().err == f"Using {installed}, version 1.16.2; tested with 1.14.0.\n"


def test_one_that_is_too_old_or_unnamed_is_passed_over(tmp_path: Path) -> None:
    fake_daprd(tmp_path / "bin/daprd", "1.13.4")
    fake_daprd(tmp_path / "home/.dapr/bin/daprd", "edge")
    assert runtime.find_installed() is None


def test_daprd_named_in_the_environment_comes_first(
    tmp_path: Path, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_daprd(tmp_path / "bin/daprd", "1.14.0")
    named = fake_daprd(tmp_path / "mine/daprd", "1.14.0")
    monkeypatch.setenv("DAPRD", str(named))
    assert runtime.daprd(home) == named


def test_a_path_of_two_words_will_do(tmp_path: Path, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    named = fake_daprd(tmp_path / "my files/another name", "1.18.0")
    monkeypatch.setenv("DAPRD", str(named))
    assert runtime.daprd(home) == named


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("1.9.0", "its answer to --version is '1.9.0', and a daprd of 1.14 or later is needed"),
        ("edge", "its answer to --version is 'edge', and a daprd of 1.14 or later is needed"),
        ("", "it does not answer to --version, and a daprd of 1.14 or later is needed"),
    ],
)
def test_a_useless_one_named_there_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, said: str
) -> None:
    binary = fake_daprd(tmp_path / "mine/daprd", version)
    assert refusal(str(binary), monkeypatch) == f"DAPRD is {binary}; {said}."


def test_one_that_is_not_there_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere, text = tmp_path / "nowhere", tmp_path / "text"
    text.write_text("1.14.0")
    assert refusal(str(nowhere), monkeypatch) == f"DAPRD is {nowhere}, and there is no such file."
    assert refusal(str(tmp_path), monkeypatch) == f"DAPRD is {tmp_path}, and there is no such file."
    assert refusal(str(text), monkeypatch) == f"DAPRD is {text}, which may not be executed."
    assert "give its whole path" in refusal("bin/daprd", monkeypatch)


def refusal(named: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("DAPRD", named)
    with pytest.raises(LauncherError) as refused:
        runtime.find_installed()
    return str(refused.value)


def test_else_it_is_built_once(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    built = runtime.daprd(home)
    assert runtime.version_of(built) == (1, 14, 0)
    monkeypatch.setenv("FAKE_GO_FAILS", "1")
    assert runtime.daprd(home) == built


def test_another_pin_is_another_build(home: Home) -> None:
    first = runtime.daprd(home)
    with (home.runtime_module / "go.sum").open("a") as sums:
        sums.write("more\n")
    assert runtime.daprd(home) != first


def test_a_failed_build_says_why_and_leaves_nothing(
    tmp_path: Path, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_GO_FAILS", "1")
    with pytest.raises(LauncherError, match=r"(?s)go: no network.*set DAPRD"):
        runtime_build.build(home)
    assert not [path for path in (tmp_path / "cache/runtime").iterdir() if path.is_dir()]


def test_progress_is_plain_lines_without_a_terminal(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    runtime_build.build(home)
    first, last = capsys.readouterr().err.splitlines()
    assert first == "Building daprd 1.14.0 (once; some minutes)"
    assert re.search(r"done in \d+ s$", last)


def test_a_tool_is_built_once_in_a_folder_of_its_own(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = runtime_build.tool(home, "tools-ci", "placement")
    assert tool.is_file()
    assert runtime_build.built(home) is None
    monkeypatch.setenv("FAKE_GO_FAILS", "1")
    assert runtime_build.tool(home, "tools-ci", "placement") == tool


def test_another_program_of_ours_is_another_build(home: Home) -> None:
    before = runtime_build.tool(home, "tools-ci", "placement")
    source = home.runtime_module / "tools-ci/inject/main.go"
    source.parent.mkdir()
    source.write_text("package main\n")
    assert runtime_build.tool(home, "tools-ci", "placement") != before


def test_a_tool_may_need_a_later_go_than_daprd(home: Home) -> None:
    pins = home.runtime_module / "tools-ci/go.mod"
    pins.write_text(re.sub(r"(?m)^go .*$", "go 1.99.0", pins.read_text()))
    with pytest.raises(LauncherError, match=r"needs Go 1\.99 or later"):
        runtime_build.tool(home, "tools-ci", "placement")
