"""What must hold of the system in containers. Each check says in a few words what it saw; it fails by an assertion."""

import json
import urllib.request
import uuid
from collections.abc import Callable
from typing import Any
from urllib.error import HTTPError

from composed.project import Project
from servers.wheels import SERVICES
from support.polling import eventually

APPS = ("gateway-a", "gateway-b", "orders", "inventory", "users", "payments", "notifications")
ABOVE_BASE = 120  # MB at most
ORDER = {"userId": "user-1", "items": [{"sku": "CANOE-CEDAR", "quantity": 1}]}
ASK = """
import urllib.request, urllib.error
try:
    print(urllib.request.urlopen({url!r}, timeout=2).status)
except urllib.error.HTTPError as refused:
    print(refused.code)
except OSError as nobody:
    print("nobody:", nobody)
"""


def images_are_small(project: Project) -> str:
    """Compare each image with the base that it stands on."""
    base = project.client.images.get(project.settings["BASE"]).attrs["Size"]
    above = {name: (_image(project, name)["Size"] - base) / 1e6 for name in SERVICES}
    assert max(above.values()) <= ABOVE_BASE, above
    return ", ".join(f"{name} {size:.0f}" for name, size in above.items()) + " MB above the base"


def images_say_what_they_are(project: Project) -> str:
    """Look at user, health check and labels."""
    for name in SERVICES:
        told = _image(project, name)["Config"]
        assert told["User"] == "65532:65532", name
        assert told["Healthcheck"]["Test"][0] == "CMD", name
        assert told["Labels"]["org.opencontainers.image.title"] == name
    return f"{len(SERVICES)} images: user 65532, a health check, OCI labels"


def materials_are_listed(project: Project) -> str:
    """Read each container's list of materials, and see that its packages are those of the list."""
    code = """
import importlib.metadata, json, sysconfig
listed = [each["name"] for each in json.load(open("/service/sbom.cdx.json"))["components"]]
installed = importlib.metadata.distributions(path=[sysconfig.get_path("purelib")])
print(json.dumps([listed, [each.name.lower() for each in installed]]))
"""
    counted = []
    for name in (*APPS, "bank"):
        listed, installed = json.loads(project.inside(name, code))
        assert {word.replace("_", "-") for word in installed} <= set(listed), name
        counted.append(len(installed))
    return f"a list of materials in each image holds every package ({min(counted)} to {max(counted)})"


def nothing_can_be_written(project: Project) -> str:
    """Try to write, and to be root."""
    for name in (*APPS, "bank"):
        said = project.inside(name, "import os; print(os.getuid()); open('/service/x', 'w')")
        assert "65532" in said.splitlines(), said
        assert "Read-only file system" in said, said
    told = [each.attrs for each in project.containers().values()]
    assert all(each["HostConfig"]["ReadonlyRootfs"] for each in told)
    assert all(each["HostConfig"]["CapDrop"] == ["ALL"] for each in told)
    added = [word for each in told for word in each["HostConfig"]["CapAdd"] or ()]
    return f"{len(told)} containers: read-only roots, {len(added)} capabilities in all; apps are user 65532"


def an_order_is_confirmed(project: Project) -> str:
    """Place one through the proxy and follow it to its end."""
    _confirmed(project)
    return "an order placed through the proxy is confirmed"


def mails_are_written(project: Project) -> str:
    """Look into the folder on this machine."""
    folder, order = project.home.work / "compose" / "mail", _confirmed(project)
    wanted = [folder / f"{kind}-{order}.eml" for kind in ("created", "confirmed")]
    eventually(lambda: all(path.exists() for path in wanted), within=30, what="two mails")
    return f"its mails are in {folder.relative_to(project.home.root)}"


def tokens_are_asked_for(project: Project) -> str:
    """Call apps and sidecars without one, from where they can be reached."""
    for name in APPS:
        refused = project.inside(name, ASK.format(url=f"http://{name}-dapr:3500/v1.0/metadata"))
        assert refused == "401", (name, refused)
        refused = project.inside(name, ASK.format(url="http://127.0.0.1:8080/status"))
        assert refused == "403", (name, refused)
    return "every sidecar answers 401 and every app 403 without a token"


def apps_reach_nobody_else(project: Project) -> str:
    """Try from an app what only its sidecar may."""
    for service, port in (("inventory", 8080), ("inventory-dapr", 50002), ("bank", 8080), ("postgresql", 5432)):
        for host in (service, *project.addresses(service)):
            said = project.inside("orders", ASK.format(url=f"http://{host}:{port}/"))
            assert said.startswith("nobody"), (host, said)
    assert project.inside("orders", ASK.format(url="http://orders-dapr:3500/v1.0/healthz")) == "204"
    return "an app reaches its own sidecar, and no other app, sidecar, store or bank, by name or address"


def a_crashed_app_comes_back(project: Project) -> str:
    """Kill an app; its sidecar stays and serves the next process."""
    return _crashed(project, "orders", stays="orders-dapr")


def a_crashed_sidecar_comes_back(project: Project) -> str:
    """Kill a sidecar; its app stays and is served by the next process."""
    return _crashed(project, "payments-dapr", stays="payments")


def a_crashed_gateway_is_not_noticed(project: Project) -> str:
    """Kill one of two while requests come in: the proxy asks the other."""
    project.crash("gateway-a")
    answers = [_get(project, "/api/v1/products")[0] for _ in range(200)]
    assert set(answers) == {200}, answers
    _healthy(project, "gateway-a")
    return f"one of two gateways killed: {len(answers)} of {len(answers)} requests answered 200"


def traces_arrive(project: Project) -> str:
    """Ask Zipkin who it heard of."""

    def known() -> set[str]:
        with urllib.request.urlopen(f"http://127.0.0.1:{project.zipkin}/api/v2/services", timeout=10) as answer:
            return set(json.load(answer))

    wanted = set(SERVICES) - {"bank", "users"}  # which an order does not ask
    eventually(lambda: known() >= wanted, within=60, what="spans of all services", pause=0.5)
    return "Zipkin has spans of every service that an order passes"


def logs_are_together(project: Project) -> str:
    """Look for every app and sidecar in the collector's file, which was not there before this run."""
    file = project.home.work / "compose" / "logs" / "all.jsonl"
    there = project.containers()
    wanted = {there[name].name for app in APPS for name in (app, f"{app}-dapr")}

    def seen() -> set[str]:
        lines = file.read_text().rpartition("\n")[0].splitlines() if file.exists() else []
        return {json.loads(line).get("container") for line in lines}

    eventually(lambda: wanted <= seen(), within=60, what="lines of every app and sidecar", pause=1)
    return f"{len(wanted)} apps and sidecars have lines in {file.relative_to(project.home.root)}"


CHECKS: tuple[Callable[[Project], str], ...] = (
    images_are_small, images_say_what_they_are, nothing_can_be_written, materials_are_listed, an_order_is_confirmed,
    mails_are_written, tokens_are_asked_for, apps_reach_nobody_else, a_crashed_app_comes_back,
    a_crashed_sidecar_comes_back, a_crashed_gateway_is_not_noticed, traces_arrive,
    logs_are_together,
)  # fmt: skip


def _image(project: Project, service: str) -> dict[str, Any]:
    return project.client.images.get(f"outrigger/{service}:local").attrs


def _confirmed(project: Project) -> str:
    """Place an order and see it confirmed; returns its id."""
    placed = _post(project, "/api/v1/orders", ORDER)
    end = eventually(lambda: _ended(project, placed["orderId"]), within=60, what="the order ends", pause=0.2)
    assert end["status"] == "confirmed", end
    return placed["orderId"]


def _crashed(project: Project, victim: str, *, stays: str) -> str:
    before = project.state(stays)["StartedAt"]
    project.crash(victim)
    _healthy(project, victim)
    said = an_order_is_confirmed(project)
    assert project.state(stays)["StartedAt"] == before
    return f"{victim} killed: {stays} stayed, {said}"


def _healthy(project: Project, service: str) -> None:
    """Wait until a container runs again and is well."""

    def well() -> bool:
        state = project.state(service)
        return state["Running"] and state["Health"]["Status"] == "healthy"

    eventually(well, within=120, what=f"{service} is healthy", pause=0.5)


def _ended(project: Project, order: str) -> dict[str, Any] | None:
    status, body = _get(project, f"/api/v1/orders/{order}")
    return body if status == 200 and body["status"] in {"confirmed", "cancelled"} else None


def _get(project: Project, path: str) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{project.port}{path}", timeout=30) as answer:
            return answer.status, json.load(answer)
    except HTTPError as refused:
        return refused.code, None


def _post(project: Project, path: str, body: dict[str, Any]) -> Any:
    headers = {"content-type": "application/json", "idempotency-key": uuid.uuid4().hex}
    url = f"http://127.0.0.1:{project.port}{path}"
    return eventually(lambda: _posted(url, body, headers), within=60, what="an order is accepted", pause=0.5)


def _posted(url: str, body: dict[str, Any], headers: dict[str, str]) -> Any:
    """Send it; nothing where it is refused for now: the key makes it safe to send it again."""
    try:
        request = urllib.request.Request(url, json.dumps(body).encode(), headers)  # noqa: S310 - http, as it says
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return json.load(answer)
    except HTTPError as refused:
        if refused.code in {502, 503, 504}:
            return None
        raise
