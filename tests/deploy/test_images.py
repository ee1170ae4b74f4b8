"""The images' Dockerfiles: one text for all, a base of anyone's choice, no root, and a health check of their own."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from deploy.dockerfiles import common, faults, image_faults, instructions
from outrigger.template import read_template
from servers import wheels
from support.installation import REPOSITORY

SERVICES = ("gateway", "orders", "inventory", "users", "payments", "notifications", "bank")
TEMPLATE = read_template(REPOSITORY / "dapr" / "dapr.yaml")


def dockerfile(service: str) -> str:
    return (REPOSITORY / "apps" / service / "Dockerfile").read_text()


def test_every_service_has_one_and_nothing_else_has() -> None:
    assert {path.parent.name for path in REPOSITORY.glob("apps/*/Dockerfile")} == set(SERVICES)
    assert set(SERVICES) == set(wheels.SERVICES) == {app.app_id for app in TEMPLATE.apps} | {"bank"}


@pytest.mark.parametrize("service", SERVICES)
def test_they_are_one_text_but_for_what_is_a_service_s_own(service: str) -> None:
    assert common(dockerfile(service), service) == common(dockerfile("orders"), "orders")


@pytest.mark.parametrize("service", SERVICES)
def test_they_are_as_they_should_be(service: str) -> None:
    assert faults(dockerfile(service)) == []


@pytest.mark.parametrize(
    ("line", "instead", "fault"),
    [
        (r"^USER .*", "USER root", "runs as root"),
        (r"^USER .*", "", "runs as root"),
        (r"^USER .*", "USER app", "user is a name"),
        (r"^ARG BASE=.*", "ARG BASE=registry.example/python:3", "names a registry"),
        (r"^ARG BASE=.*", "ARG BASE=python:latest", "no tag, or one that moves"),
        (r"^ARG BASE=.*", "ARG BASE=python", "no tag, or one that moves"),
        (r"^FROM \$\{BASE\}", "FROM python:3.11-slim", "is no argument"),
        (r"^HEALTHCHECK .*", "", "no health check"),
        (r"^HEALTHCHECK .*", "HEALTHCHECK CMD curl -f localhost", "does not need"),
        (r"^EXPOSE .*", "ADD https://example.com/x /x", "no lock pins"),
        (r"^CMD .*", 'CMD "python -m orders.main"', "through a shell"),
        (r"image\.revision", "image.ref", "no label revision"),
    ],
)
def test_a_fault_is_found(line: str, instead: str, fault: str) -> None:
    text, count = re.subn(line, lambda _: instead, dockerfile("orders"), flags=re.MULTILINE)
    assert count
    assert any(fault in each for each in faults(text))


@pytest.mark.parametrize("name", ["localhost/x:1", "reg.example/x:1", "reg:5000/x:1", "x", "x/y", "x:latest"])
def test_a_name_that_is_not_ours_to_choose_is_found(name: str) -> None:
    assert image_faults(name)
    assert not image_faults("outrigger/orders:0.1.0")


@pytest.mark.parametrize("app", TEMPLATE.apps, ids=lambda app: app.app_id)
def test_an_app_is_started_as_the_template_starts_it(app) -> None:  # noqa: ANN001 - pytest's parameter
    told = dict(instructions(dockerfile(app.app_id)))
    assert json.loads(told["CMD"]) == [Path(app.command[0]).name, *app.command[1:]]


def test_uv_is_the_makefile_s() -> None:
    (version,) = re.findall(r"^UV_VERSION := (\S+)$", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    assert dict(instructions(dockerfile("orders").partition("RUN")[0]))["ARG"] == f"UV_VERSION={version}"
    assert version == wheels.UV_VERSION


def test_no_secret_and_nothing_that_a_run_leaves_behind_gets_into_an_image() -> None:
    first, *rest = [line for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert first == "*"
    assert [line for line in rest if line.startswith("!")] == [
        "!pyproject.toml", "!uv.lock", "!apps", "!dapr/local/pyproject.toml",
    ]  # fmt: skip


class Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health" else 503)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
        """Say nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), Answers)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def alive(port: int, path: str) -> int:
    argv = [sys.executable, "-IB", REPOSITORY / "apps" / "alive.py", str(port), path]
    return subprocess.run(argv, capture_output=True, timeout=30, check=False).returncode


def test_the_health_check_fails_where_the_service_does_not_answer_well(port: int) -> None:
    assert alive(port, "/health") == 0
    assert alive(port, "/ready") != 0


def test_the_health_check_fails_where_nobody_answers(port: int) -> None:
    assert alive(1, "/health") != 0
