"""The workflows: sound by two linters, as careful as we want them, each started by what concerns its service."""

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from delivery import callers
from delivery.changed import concerned, manifests, watched
from delivery.members import ROOT, members, parts, services
from outrigger.home import Home
from outrigger.runtime_build import tool

FOLDER = ROOT / callers.FOLDER
KNOWN = members()
SERVICES = services(KNOWN)
ENTRIES = [*SERVICES, "platform", "whole"]  # those that start by themselves; `service` is called
RANK = {None: 0, "none": 0, "read": 1, "write": 2}


def lines(name: str) -> str:
    return (FOLDER / f"{name}.yml").read_text()


def workflow(name: str) -> dict[Any, Any]:
    """Return a workflow; YAML reads its key `on` as true."""
    return yaml.safe_load(lines(name))


def jobs() -> Iterator[tuple[str, dict[str, Any]]]:
    for file in sorted(FOLDER.glob("*.yml")):
        for name, job in workflow(file.stem)["jobs"].items():
            yield f"{file.stem}/{name}", job


def steps() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, job in jobs():
        for step in job.get("steps", ()):
            yield name, step


def paths(service: str) -> list[str]:
    return workflow(service)[True]["push"]["paths"]


# two linters


def zizmor(folder: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("zizmor")
    command = [program, "--offline", "--strict-collection", "--no-progress", "--color=never", folder]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def actionlint(root: Path) -> subprocess.CompletedProcess[str]:
    """Without programs that are there on one machine and not on another."""
    command = [tool(Home(ROOT), "tools-ci", "actionlint"), "-no-color", "-shellcheck=", "-pyflakes="]
    files = sorted((root / callers.FOLDER).glob("*.yml"))
    return subprocess.run([*command, *files], cwd=root, capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a copy of what the linters read, a repository as far as they look."""
    shutil.copytree(ROOT / ".github", tmp_path / ".github")
    (tmp_path / ".git").mkdir()
    return tmp_path


def test_zizmor_finds_nothing() -> None:
    done = zizmor(ROOT / ".github")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "good", "bad", "found"),
    [
        ("service.yml", r"actions/checkout@\S+ # \S+", "actions/checkout@v7", "unpinned-uses"),
        ("whole.yml", r"permissions:\n      contents: read", "permissions: write-all", "excessive-permissions"),
        ("service.yml", r"run: make service-check", "run: make ${{ github.head_ref }}", "template-injection"),
        ("whole.yml", r"  pull_request:", "  pull_request_target:", "dangerous-triggers"),
    ],
)
def test_zizmor_would_find_it(copy: Path, name: str, good: str, bad: str, found: str) -> None:
    file = copy / callers.FOLDER / name
    text, count = re.subn(good, bad, file.read_text(), count=1)
    assert count == 1
    file.write_text(text)
    done = zizmor(copy / ".github")
    assert done.returncode != 0
    assert found in done.stdout


def test_actionlint_finds_nothing() -> None:
    done = actionlint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_actionlint_would_find_it(copy: Path) -> None:
    file = copy / callers.FOLDER / "service.yml"
    file.write_text(file.read_text().replace("needs.changed.outputs.concerned", "needs.changed.outputs.concerning"))
    done = actionlint(copy)
    assert done.returncode != 0
    assert 'property "concerning" is not defined' in done.stdout


# one workflow a service


def test_every_service_has_a_workflow_and_nothing_else_has() -> None:
    assert {file.stem for file in FOLDER.iterdir()} == {*ENTRIES, "service"}
    assert {"gateway", "users", "orders", "inventory", "payments", "notifications", "bank"} <= set(SERVICES)


def test_an_app_that_appears_is_missed(tmp_path: Path) -> None:
    for file in ROOT.glob("apps/*/pyproject.toml"):
        (tmp_path / "apps" / file.parent.name).mkdir(parents=True)
        shutil.copy(file, tmp_path / "apps" / file.parent.name)
    new = tmp_path / "apps/refunds/pyproject.toml"
    new.parent.mkdir()
    new.write_text((ROOT / "apps/users/pyproject.toml").read_text().replace("users", "refunds"))
    assert set(services(members(tmp_path))) - {file.stem for file in FOLDER.iterdir()} == {"refunds"}


@pytest.mark.parametrize("service", SERVICES)
def test_it_is_as_make_workflows_writes_it(service: str) -> None:
    assert lines(service) == callers.caller(KNOWN, service), "run `make workflows`"


def test_they_differ_in_name_and_paths_alone() -> None:
    """Compares the files with each other, so that nobody need trust what writes them."""
    alike = set()
    for service in SERVICES:
        text = re.sub(r"(?m)^      - \S+\n", "", lines(service))
        alike.add(re.sub(rf"\b{service}\b(?!\.yml)", "SERVICE", text))
    assert len(alike) == 1


# started by what concerns them


@lru_cache
def imported(app: str) -> set[str]:
    """Return the members of the workspace that an app's code imports, itself left out."""
    found = set[str]()
    for file in (ROOT / "apps" / app).glob("*/**/*.py"):
        if "tests" not in file.parts:
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Import):
                    found |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module:
                    found.add(node.module.partition(".")[0])
    return {name.removesuffix("_testing") for name in found} & KNOWN.keys() - {app}


def all_imported(app: str) -> set[str]:
    found = {app}
    for name in imported(app):
        found |= all_imported(name)
    return found


@pytest.mark.parametrize("service", SERVICES)
def test_its_paths_are_those_of_what_it_imports(service: str) -> None:
    folders = {path.split("/")[1] for path in paths(service) if re.fullmatch(r"apps/\w+/\*\*", path)}
    assert folders == all_imported(service) == parts(KNOWN, service)


@pytest.mark.parametrize("service", SERVICES)
def test_the_paths_of_both_events_are_the_same_and_name_what_is_there(service: str) -> None:
    events = workflow(service)[True]
    assert events["pull_request"]["paths"] == events["push"]["paths"]
    for path in paths(service):
        assert list(ROOT.glob(path)) or path in {".dockerignore", "apps/*"}, f"{path} matches nothing"


def test_a_file_starts_the_services_that_are_made_of_it() -> None:
    found = [file for part in ("apps", "docs", "tests") for file in (ROOT / part).rglob("*") if file.is_file()]
    told = [str(file.relative_to(ROOT)) for file in found if "__pycache__" not in file.parts]
    assert len(told) > 300
    filters = {service: paths(service) for service in SERVICES}
    for file in told:
        started = {service for service in SERVICES if concerned(filters[service], [file])}
        folders = file.split("/")
        if folders[0] == "apps" and len(folders) > 2:
            assert started == {service for service in SERVICES if folders[1] in parts(KNOWN, service)}, file
        elif folders[0] in {"docs", "tests"}:
            assert started == set(), file


def test_a_services_manifests_are_followed_to_all_that_they_are_made_of(tmp_path: Path) -> None:
    for folder, text in {
        "k8s/base/orders": "resources: # and components\n"
        "  - deployment.yaml\n  - ../../../dapr # shared\n  - ../../components/service\n",
        "k8s/components/service": "patches:\n  - path: probes.yaml\n",
        "dapr": "resources:\n  - config.yaml\n",
    }.items():
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "kustomization.yaml").write_text(text)
    for file in ("k8s/base/orders/deployment.yaml", "k8s/components/service/probes.yaml", "dapr/config.yaml"):
        (tmp_path / file).touch()
    wanted = ["dapr/config.yaml", "dapr/kustomization.yaml", "k8s/base/orders/**", "k8s/components/service/**"]
    assert manifests(tmp_path, "orders") == wanted
    assert set(wanted) < set(watched(KNOWN, "orders", tmp_path))
    assert manifests(tmp_path, "bank") == []


# as careful as we want them


def test_every_action_is_pinned_and_says_its_version() -> None:
    pins: dict[str, set[str]] = {}
    for file in FOLDER.glob("*.yml"):
        for used in re.findall(r"(?m)^\s*(?:- )?uses: (.+)$", file.read_text()):
            if not used.startswith("./"):
                found = re.fullmatch(r"([\w.-]+/[\w./-]+)@([0-9a-f]{40}) # (v\d+\.\d+\.\d+)", used)
                assert found, f"{file.name}: {used}"
                pins.setdefault(found[1], set()).add(f"{found[2]} {found[3]}")
    assert len(pins) == 6
    assert {name: versions for name, versions in pins.items() if len(versions) > 1} == {}


def test_nothing_is_allowed_that_a_job_does_not_name() -> None:
    for file in FOLDER.glob("*.yml"):
        assert workflow(file.stem)["permissions"] == {}, file.name
    for name, job in jobs():
        assert "permissions" in job, name
        assert job["permissions"] == {} or set(job["permissions"].values()) <= {"read", "write"}, name


def test_a_caller_grants_what_the_jobs_ask_for_and_no_more() -> None:
    asked: dict[str, int] = {}
    for job in workflow("service")["jobs"].values():
        for scope, access in job["permissions"].items():
            asked[scope] = max(asked.get(scope, 0), RANK[access])
    for service in SERVICES:
        granted = workflow(service)["jobs"][service]["permissions"]
        assert {scope: RANK[access] for scope, access in granted.items()} == asked


def test_what_may_write_runs_on_main_alone() -> None:
    known = workflow("service")["jobs"]
    writing = {name for name, job in known.items() if "write" in job["permissions"].values()}
    assert writing == {"publish", "canary", "promote", "rollback"}
    for name in ("publish", "rollback"):
        assert "github.ref == 'refs/heads/main'" in known[name]["if"]
    assert "publish" in known["canary"]["needs"]
    assert "canary" in known["promote"]["needs"]
    assert known["promote"]["environment"] == known["rollback"]["environment"] == "production"


def test_every_job_ends_and_every_run_knows_its_predecessor() -> None:
    for name, job in jobs():
        assert "uses" in job or 0 < job["timeout-minutes"] <= 350, name
    for name in ENTRIES:
        assert workflow(name)["concurrency"]["group"], name


def test_a_delivery_on_main_is_never_cut_short() -> None:
    for service in SERVICES:
        assert workflow(service)["concurrency"]["cancel-in-progress"] == "${{ github.event_name == 'pull_request' }}"


def test_what_a_step_does_stands_in_the_makefile() -> None:
    targets = set(re.findall(r"(?m)^([a-z][a-z-]*):", (ROOT / "Makefile").read_text()))
    asked = {
        target for _, step in steps() for line in step.get("run", "").splitlines()
        for target in re.findall(r"(?:^|&& )make ((?:[a-z-]+ ?)+)", line) for target in target.split()
    }  # fmt: skip
    assert asked - targets == set()
    assert {"changed", "service-check", "contracts-check", "audit-dependencies", "sbom"} <= asked
    assert {"canary", "promote", "rollback", "platform", "test", "verify"} <= asked


def test_no_registry_is_named() -> None:
    for file in [*FOLDER.glob("*.yml"), *(ROOT / "tests/delivery").glob("*.py")]:
        assert not re.search(r"\b(?:docker|ghcr|quay|gcr|pkg)\.(?:io|dev|com)\b|amazonaws|azurecr", file.read_text())
    assert workflow("service")["jobs"]["publish"]["env"]["REGISTRY"] == "${{ vars.REGISTRY }}"


def test_the_gate_waits_for_everything() -> None:
    known = workflow("whole")["jobs"]
    assert set(known["whole"]["needs"]) == known.keys() - {"whole"}


# who is asked


def owners() -> dict[str, list[str]]:
    told = (ROOT / ".github/CODEOWNERS").read_text().splitlines()
    return {path: who for path, *who in (line.split() for line in told if line and not line.startswith("#"))}


def test_every_app_has_owners_of_its_own() -> None:
    known = owners()
    for app in KNOWN:
        assert known[f"/apps/{app}/"], app
    for service in SERVICES:
        if service != "bank":
            assert known[f"/apps/{service}/"] == known[f"/k8s/base/{service}/"] == [f"@outrigger/{service}"]
    assert {f"@outrigger/{s}" for s in SERVICES if s != "bank"} <= set(known["/apps/contracts/"])


def test_no_owner_is_left_of_what_has_gone() -> None:
    apps = {path.split("/")[2] for path in owners() if path.startswith("/apps/")}
    assert apps == set(KNOWN)


def test_dependabot_looks_at_every_kind_of_pin() -> None:
    told = yaml.safe_load((ROOT / ".github/dependabot.yml").read_text())["updates"]
    assert {update["package-ecosystem"] for update in told} == {"uv", "gomod", "github-actions", "docker"}
