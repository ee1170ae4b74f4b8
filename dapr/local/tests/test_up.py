"""The launcher on real sidecars and a real broker, with two small apps in place of the services.

Needs the host to itself: another instance would be refused.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from outrigger.commands import DRAIN
from outrigger.home import Home
from outrigger.ports import free_ports
from outrigger.runtime import daprd
from outrigger.state import RunState, read_run
from support.installation import lives

pytestmark = pytest.mark.real

EMPTY_REPLY, RESET = 52, 56  # curl's words
STAND_IN = """
import os
import socket
from aiohttp import ClientSession, web

async def ready(request):
    async with ClientSession() as http:
        async with http.get(f"http://127.0.0.1:{os.environ['DAPR_HTTP_PORT']}/v1.0/healthz/outbound") as answer:
            return web.Response(status=200 if answer.ok else 503)

async def products(request):
    print("products asked", flush=True)
    return web.json_response({"products": [{"sku": "kayak", "available": 1000}]})

async def place(request):
    return web.json_response({"orderId": "one", "status": "pending"}, status=202)

async def look(request):
    return web.json_response({"orderId": "one", "status": "confirmed"})

async def subscribe(request):
    return web.json_response([])

app = web.Application()
app.router.add_get("/ready", ready)
app.router.add_get("/dapr/subscribe", subscribe)
app.router.add_get("/api/v1/products", products)
app.router.add_post("/api/v1/orders", place)
app.router.add_get("/api/v1/orders/{id}", look)
print("here I am", flush=True)
if "APP_FD" in os.environ:
    web.run_app(app, sock=socket.socket(fileno=int(os.environ["APP_FD"])), print=None)
else:
    web.run_app(app, host="127.0.0.1", port=int(os.environ["APP_PORT"]), print=None)
"""

Eventually = Callable[..., None]


class Project:
    """A project of two apps in a folder with a space in its name, and its command line."""

    def __init__(self, home: Home) -> None:
        self.home = home
        (self.port,) = free_ports(1)
        (home.root / "app.py").write_text(STAND_IN)
        template = yaml.safe_load(home.template.read_text())
        template["apps"] = template["apps"][:2]
        for app in template["apps"]:
            app["command"] = [sys.executable, "../../app.py"]
        home.template.write_text(yaml.safe_dump(template))

    def argv(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "outrigger.cli", *arguments]

    def outrigger(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.argv(*arguments), cwd=self.home.root, capture_output=True, text=True, timeout=100, check=False
        )

    def up(self, *more: str) -> str:
        done = self.outrigger("up", "--detach", "--port", str(self.port), *more)
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def run(self) -> RunState:
        run = read_run(self.home.run_file)
        assert run
        return run

    def processes(self) -> list[psutil.Process]:
        return [process for state in self.run.processes() if (process := state.process())]

    def status(self) -> dict[str, Any]:
        return json.loads(self.outrigger("status", "--json").stdout)


def all_gone(processes: list[psutil.Process]) -> bool:
    return not any(map(lives, processes))


@pytest.fixture
def project(home: Home) -> Iterator[Project]:
    project = Project(home)
    yield project
    project.outrigger("down")


@pytest.fixture
def dapr_init() -> Iterator[None]:
    """Take the ports on which `dapr init` leaves its Redis, Zipkin, placement and scheduler, if nobody has them."""
    with ExitStack() as stack:
        for port in (6379, 9411, 50005, 50006):
            with contextlib.suppress(OSError):
                stack.enter_context(socket.create_server(("127.0.0.1", port)))
        yield


@pytest.mark.usefixtures("dapr_init")
def test_up_prints_a_command_that_works_and_down_leaves_nothing(project: Project) -> None:
    printed = project.up()
    assert f"http://127.0.0.1:{project.port}/api/v1/orders" in printed
    assert '"sku": "kayak"' in printed
    processes = project.processes()
    assert {"valkey", "bank", "orders.app", "orders.daprd"} <= {state.name for state in project.run.processes()}
    assert project.outrigger("down").returncode == 0
    assert all_gone(processes)
    assert not project.home.run_file.exists()


def test_the_run_can_be_watched_and_used(project: Project) -> None:
    project.up()
    status = project.status()
    assert status["phase"] == "ready"
    assert all(service["ready"] for service in status["services"])
    assert "orders.app | here I am" in project.outrigger("logs", "orders.app").stdout
    assert int(project.outrigger("pid", "orders.app").stdout) == project.run.services["orders"].app.pid
    assert "gateway.app, gateway.daprd" in project.outrigger("pid", "orders").stderr
    done = project.outrigger("order", "--count", "3", "--wait", "--json")
    assert json.loads(done.stdout)["confirmed"] == 3


def test_a_sidecar_is_known_to_the_dapr_cli(project: Project, eventually: Eventually) -> None:
    project.up()
    service = project.run.services["orders"]
    sidecar = service.sidecar.process()
    assert sidecar
    assert sidecar.name() == "daprd"
    leader = str(project.run.launcher.pid)
    metadata = ["curl", "-s", f"{service.sidecar_url}/v1.0/metadata"]

    def extended() -> dict[str, str]:
        return json.loads(subprocess.run(metadata, capture_output=True, timeout=10, check=True).stdout)["extended"]

    eventually(lambda: "daprdLogPath" in extended())
    assert extended()["cliPID"] == leader
    assert extended()["appPID"] == str(service.app.pid)
    assert extended()["runTemplatePath"] == str(project.home.template)
    assert os.getsid(int(leader)) == int(leader)


def test_what_dies_comes_back_on_its_ports(project: Project, eventually: Eventually) -> None:
    project.up()
    before = project.run.services["orders"]
    for process in (before.app.process(), before.sidecar.process()):
        assert process
        process.kill()
    eventually(lambda: project.status()["services"][1]["sidecar"]["restarts"] == 1, within=30)
    eventually(lambda: all(service["ready"] for service in project.status()["services"]), within=30)
    after = project.run.services["orders"]
    assert (after.app_port, after.dapr_http_port) == (before.app_port, before.dapr_http_port)


def test_a_sidecar_that_anybody_tells_to_end_is_soon_replaced(project: Project, eventually: Eventually) -> None:
    project.up()
    before = project.run.services["orders"].sidecar.process()
    assert before
    before.terminate()
    eventually(lambda: project.status()["services"][1]["sidecar"]["restarts"] == 1, within=DRAIN / 2)
    eventually(lambda: all(service["ready"] for service in project.status()["services"]), within=30)


@pytest.mark.timeout(300)  # twice half a minute, where a circuit rests or a look-up missed one
def test_there_are_as_many_replicas_as_wished_and_their_callers_are_handed_on(
    project: Project, eventually: Eventually
) -> None:
    def names() -> list[str]:
        return [service["name"] for service in project.status()["services"]]

    def invoked() -> int:
        url = f"{project.run.services['gateway'].sidecar_url}/v1.0/invoke/orders/method/api/v1/products"
        return subprocess.run(
            ["curl", "-sf", "--max-time", "10", "-o", os.devnull, url], timeout=20, check=False
        ).returncode

    project.up("--replicas", "2")
    assert names() == ["gateway", "orders", "orders-1"]
    assert project.outrigger("scale", "3").stdout == "orders: 3\n"
    third = project.run.services["orders-2"]
    # The caller's sidecar looks for others from time to time; it goes round through those that it knows.
    served = lambda: project.outrigger("logs", "orders-2.app").stdout.count("products asked") > 0  # noqa: E731
    eventually(lambda: invoked() == 0 and served(), within=100)
    processes = [third.app.process(), third.sidecar.process()]
    assert project.outrigger("scale", "1", "orders").returncode == 0
    assert names() == ["gateway", "orders"]
    assert all_gone([process for process in processes if process])
    # A caller's sidecar that met nobody tries that address again a moment later (gRPC's backoff).
    eventually(lambda: [invoked() for _ in range(12)] == [0] * 12, within=100)
    assert "no replicas of gateway" in project.outrigger("scale", "2", "gateway").stderr


@pytest.mark.parametrize("what", [[], ["--sidecars"]], ids=["apps", "sidecars"])
def test_a_restart_refuses_nobody(project: Project, what: list[str]) -> None:
    def pids() -> dict[str, int | None]:
        pairs = [(service.sidecar if what else service.app) for service in project.run.services.values()]
        return {process.name: process.pid for process in pairs}

    project.up()
    before = pids()
    url = f"http://127.0.0.1:{project.port}/api/v1/products"
    with subprocess.Popen(
        project.argv("restart", *what), cwd=project.home.root, stdout=subprocess.PIPE, text=True
    ) as restart:
        while restart.poll() is None:
            asked = subprocess.run(["curl", "-sf", "--max-time", "30", "-o", os.devnull, url], timeout=40, check=False)
            # Unlike a service of ours, the app that stands in here may cut off whom it has just accepted.
            assert asked.returncode in {0, EMPTY_REPLY, RESET}
        told, _ = restart.communicate()
    assert [line.split()[0] for line in told.splitlines()] == list(before)
    after = pids()
    assert all(after[name] not in {pid, None} for name, pid in before.items())
    assert "no service kitchen" in project.outrigger("restart", "kitchen").stderr


def test_a_second_one_is_refused_and_told_of_the_first(project: Project) -> None:
    project.up()
    second = project.outrigger("up", "--detach")
    assert second.returncode == 1
    assert "runs here already" in second.stderr
    assert project.status()["phase"] == "ready"


def test_after_a_killed_launcher_nothing_is_left_and_up_works_again(project: Project, eventually: Eventually) -> None:
    project.up()
    processes, launcher = project.processes(), project.run.launcher.process()
    assert launcher
    launcher.kill()
    eventually(lambda: all_gone(processes))
    assert project.outrigger("status").returncode == 1
    project.up()


def test_interrupting_it_stops_everything(project: Project, eventually: Eventually) -> None:
    argv = project.argv("up", "--port", str(project.port))
    with subprocess.Popen(argv, cwd=project.home.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as front:
        eventually(lambda: read_run(project.home.run_file) and project.run.phase == "ready", within=100)
        processes = project.processes()
        front.send_signal(signal.SIGINT)
        _, said = front.communicate(timeout=60)
    assert front.returncode == 0
    assert said.decode().endswith("Stopped.\n")
    assert all_gone(processes)


def test_losing_the_terminal_stops_everything(project: Project, eventually: Eventually) -> None:
    argv = project.argv("up", "--port", str(project.port))
    with subprocess.Popen(argv, cwd=project.home.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as front:
        eventually(lambda: read_run(project.home.run_file) and project.run.phase == "ready", within=100)
        processes = project.processes()
        front.kill()
    eventually(lambda: all_gone(processes), within=60)


def test_parts_alone_serve_a_sidecar_that_others_start(project: Project, eventually: Eventually) -> None:
    done = project.outrigger("up", "--detach", "--parts-only")
    assert done.returncode == 0, done.stderr
    assert "dapr run -f .outrigger" in done.stdout
    assert {"valkey", "bank"} <= set(project.run.parts)
    assert "parts only" in project.outrigger("audit").stderr
    http, *others = map(str, free_ports(3))
    left = yaml.safe_load((project.home.work / "dapr.yaml").read_text())
    folder = project.home.work / left["apps"][1]["appDirPath"]
    resources = project.home.work / left["common"]["resourcesPaths"][0]
    argv = [daprd(), "--app-id", "orders", "--resources-path", resources, "--dapr-http-port", http]
    argv += ["--dapr-grpc-port", others[0], "--dapr-internal-grpc-port", others[1], "--enable-metrics=false"]
    env = {**os.environ, "DAPR_HOST_IP": "127.0.0.1"}
    with subprocess.Popen(argv, cwd=folder, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as sidecar:
        try:
            url = f"http://127.0.0.1:{http}/v1.0"
            event = ["curl", "-s", "-f", "-X", "POST", f"{url}/publish/pubsub/orders", "-d", "{}"]
            eventually(lambda: subprocess.run(event, timeout=10, check=False).returncode == 0, within=30)
        finally:
            sidecar.terminate()


def test_an_app_that_cannot_start_is_shown_with_its_words(project: Project) -> None:
    (project.home.root / "app.py").write_text("raise SystemExit('no paddle')")
    done = project.outrigger("up", "--detach", "--port", str(project.port))
    assert done.returncode == 1
    assert "app dies as it starts" in done.stderr
    assert "no paddle" in done.stderr
    assert not project.home.run_file.exists()


def test_a_taken_port_is_refused_before_anything_starts(project: Project) -> None:
    holder = [sys.executable, "-m", "http.server", str(project.port), "--bind", "127.0.0.1"]
    with subprocess.Popen(holder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=Path("/")) as server:
        try:
            url = f"http://127.0.0.1:{project.port}/none"
            subprocess.run(["curl", "-s", "--retry", "20", "--retry-connrefused", url], timeout=60, check=False)
            done = project.outrigger("up", "--port", str(project.port))
        finally:
            server.kill()
    assert done.returncode == 1
    assert f"Port {project.port} is taken by" in done.stderr
