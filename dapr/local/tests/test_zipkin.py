"""Fetching Zipkin once, running it where it is, and doing without it where it is not."""

import hashlib
from pathlib import Path

import pytest
import yaml

from outrigger import java, zipkin
from outrigger.errors import LauncherError
from outrigger.home import Home
from outrigger.plan import make_plan

JAR = b"not really a jar"


@pytest.fixture(autouse=True)
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing fetched, and a network on which nothing can be."""
    monkeypatch.setenv("OUTRIGGER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("M2_REPO", str(tmp_path / "m2"))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setattr(zipkin, "SHA256", hashlib.sha256(JAR).hexdigest())


def in_maven_s_repository(tmp_path: Path, content: bytes) -> None:
    folder = tmp_path / f"m2/io/zipkin/zipkin-server/{zipkin.VERSION}"
    folder.mkdir(parents=True)
    (folder / f"zipkin-server-{zipkin.VERSION}-exec.jar").write_bytes(content)


def config(home: Home) -> dict[str, object]:
    return yaml.safe_load((home.configs / "config.yaml").read_text())["spec"]["tracing"]


def test_java_versions_are_read() -> None:
    assert java.parse_java_version('openjdk version "17.0.15" 2025-04-15\n') == 17
    assert java.parse_java_version('java version "1.8.0_402"') == 1
    assert java.parse_java_version("sh: java: not found") is None


def test_it_is_fetched_once(tmp_path: Path) -> None:
    in_maven_s_repository(tmp_path, JAR)
    assert zipkin.fetch().read_bytes() == JAR
    (tmp_path / "m2").rename(tmp_path / "away")
    assert zipkin.fetch() == zipkin.jar()


def test_another_file_of_that_name_is_not_kept(tmp_path: Path) -> None:
    in_maven_s_repository(tmp_path, b"something else")
    with pytest.raises(LauncherError, match="another file"):
        zipkin.fetch()
    assert zipkin.jar() is None


def test_where_it_cannot_be_had_it_says_what_to_do() -> None:
    with pytest.raises(LauncherError, match="all else works, without traces"):
        zipkin.fetch()


def test_a_run_without_it_reports_to_nobody_and_says_so(home: Home) -> None:
    plan = make_plan(home, Path("/none/daprd"), 20_001)
    plan.write_resources()
    assert plan.missing == [zipkin.MISSING]
    assert "zipkin" not in config(home)
    assert {service.app.env["OTEL_EXPORTER_ZIPKIN_ENDPOINT"] for service in plan.services} == {""}


def test_a_run_with_it_tells_everybody_where_it_is(home: Home, tmp_path: Path) -> None:
    in_maven_s_repository(tmp_path, JAR)
    zipkin.fetch()
    plan = make_plan(home, Path("/none/daprd"), 20_001)
    plan.write_resources()
    part = plan.parts[-1]
    spans = f"{part.url}/api/v2/spans"
    assert config(home)["zipkin"] == {"endpointAddress": spans}
    assert {service.app.env["OTEL_EXPORTER_ZIPKIN_ENDPOINT"] for service in plan.services} == {spans}
    assert (plan.missing, part.awaited) == ([], False)


def test_it_listens_on_the_loopback_address_only_and_its_memory_is_bounded(home: Home, tmp_path: Path) -> None:
    in_maven_s_repository(tmp_path, JAR)
    zipkin.fetch()
    part = zipkin.zipkin(home, 21_000)
    assert part
    assert {"--armeria.ports[0].ip=127.0.0.1", "--armeria.ports[0].port=21000"} < set(part.command.argv)
    assert any(word.startswith("-Xmx") for word in part.command.argv)
    assert set(part.command.env) <= {"PATH", "HOME", "LANG", "TMPDIR", "STORAGE_TYPE", "MEM_MAX_SPANS"}
