"""How a change reaches a cluster: whom it concerns, and how one service is tried, kept, taken back."""

import json
import shutil
import stat
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from delivery import changed, login
from delivery.cluster import HASH, REVISION, Delivery, Failed, fallen, firing, platform, ready
from delivery.manifests import Manifest, NotDeployable, image_of, of_none, of_service, on_trial
from delivery.members import ROOT, members, services

OLD, NEW = "registry.example:5000/shop/orders@sha256:aa", "registry.example:5000/shop/orders@sha256:bb"


# whom a change concerns


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a git repository with the workspace's declarations and its lock."""
    for file in [*ROOT.glob("apps/*/pyproject.toml"), ROOT / "uv.lock"]:
        copy = tmp_path / file.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, copy)
    (tmp_path / "k8s/base/users").mkdir(parents=True)
    (tmp_path / "k8s/base/users/kustomization.yaml").write_text("resources:\n  - scaling.yaml\n")
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    commit(tmp_path)
    return tmp_path


def git(root: Path, *arguments: str) -> str:
    who = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.com", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", *who, *arguments], cwd=root, capture_output=True, text=True, check=True).stdout


def commit(root: Path) -> None:
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--no-verify", "--message=a change")


def concerned(root: Path) -> set[str]:
    return {service for service in services(members(root)) if changed.reasons(service, "HEAD~1", root)}


@pytest.mark.parametrize(
    ("file", "whom"),
    [
        ("apps/orders/orders/saga.py", {"orders"}),
        ("apps/bank/bank/book.py", {"bank"}),
        ("apps/chassis/chassis/engine.py", {"gateway", "inventory", "notifications", "orders", "payments", "users"}),
        (
            "apps/contracts/contracts/orders.py",
            {"gateway", "inventory", "notifications", "orders", "payments", "users"},
        ),
        ("k8s/base/users/scaling.yaml", {"users"}),
        ("docs/operations.md", set()),
        ("apps/orders.md", {"bank", "gateway", "inventory", "notifications", "orders", "payments", "users"}),
    ],
)
def test_a_changed_file_concerns_who_is_made_of_it(repository: Path, file: str, whom: set[str]) -> None:
    (repository / file).parent.mkdir(parents=True, exist_ok=True)
    (repository / file).write_text("changed")
    commit(repository)
    assert concerned(repository) == whom


@pytest.mark.parametrize(
    ("package", "whom"),
    [
        ("sse-starlette", {"gateway"}),
        ("uvicorn", {"bank", "gateway", "inventory", "notifications", "orders", "payments", "users"}),
        ("aiohttp", {"gateway", "inventory", "notifications", "orders", "payments", "users"}),
        ("hypothesis", set()),
    ],
)
def test_another_pin_in_the_one_lock_concerns_who_has_it(repository: Path, package: str, whom: set[str]) -> None:
    lock = repository / "uv.lock"
    head, found, tail = lock.read_text().partition(f'name = "{package}"\nversion = "')
    assert found
    lock.write_text(f"{head}{found}9{tail}")
    commit(repository)
    assert concerned(repository) == whom


@pytest.mark.parametrize("base", ["", changed.NOTHING, "f" * 40])
def test_where_there_is_nothing_to_compare_with_everything_is_concerned(repository: Path, base: str) -> None:
    assert changed.reasons("users", base, repository) == ["there is nothing to compare with"]


@pytest.mark.parametrize("service", ["bank", "gateway", "orders"])
def test_the_bill_of_materials_holds_what_is_locked_for_it(service: str) -> None:
    subprocess.run(["make", "--silent", "sbom", f"SERVICE={service}"], cwd=ROOT, capture_output=True, check=True)
    bill = json.loads((ROOT / f".outrigger/sbom-{service}.cdx.json").read_text())
    assert bill["bomFormat"] == "CycloneDX"
    assert bill["metadata"]["component"]["name"] == service
    listed = {component["name"] for component in bill["components"]} | {service}
    assert "pytest" not in listed
    assert listed == {pin.split()[0] for pin in changed.locked((ROOT / "uv.lock").read_text(), service)}


# what is applied


def deployment(name: str = "orders", image: str = "outrigger/orders:0.1.0") -> Manifest:
    labels = {"app.kubernetes.io/name": name}
    containers = [{"name": "proxy", "image": "registry.example:5000/else/proxy"}, {"name": "app", "image": image}]
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": 3, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}},
        },
    }  # fmt: skip


def manifest(kind: str, name: str) -> Manifest:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}}


OVERLAY = [
    manifest("Namespace", "outrigger"), manifest("Component", "store"), manifest("Service", "orders"),
    manifest("Service", "orders-headless"), manifest("Service", "users"), deployment(), deployment("users"),
    deployment("orders-canary"),
]  # fmt: skip


def names(manifests: list[Manifest]) -> list[str]:
    return [f"{m['kind']} {m['metadata']['name']}" for m in manifests]


def test_a_service_is_applied_with_all_that_is_its_own() -> None:
    assert names(of_service(OVERLAY, "orders")) == ["Service orders", "Service orders-headless", "Deployment orders"]
    assert names(of_none(OVERLAY, ["orders", "users"])) == ["Namespace outrigger", "Component store"]


def test_a_service_that_is_not_in_the_overlay_is_refused() -> None:
    with pytest.raises(NotDeployable, match="no Deployment bank"):
        of_service(OVERLAY, "bank")


def test_no_services_name_begins_anothers() -> None:
    known = services(members())
    assert [(a, b) for a in known for b in known if b.startswith(f"{a}-")] == []


def test_only_its_own_container_gets_the_image() -> None:
    tried = on_trial(deployment(), NEW, seconds=70, replicas=5)
    assert [c["image"] for c in tried["spec"]["template"]["spec"]["containers"]] == [
        "registry.example:5000/else/proxy",
        NEW,
    ]
    assert image_of(tried, "registry.example:5000/shop/orders") == NEW
    assert image_of(tried, "registry.example:5000/shop/users") is None
    assert tried["spec"]["replicas"] == 5
    assert deployment()["spec"]["replicas"] == 3


def test_another_services_image_is_refused() -> None:
    with pytest.raises(NotDeployable, match="no container of orders runs an image named users"):
        on_trial(deployment(), "registry.example/shop/users@sha256:cc", seconds=70, replicas=None)


# a rollout that stands still


class Cluster:
    """What a Deployment's controller does, as far as it is asked for here, and `kubectl` in front of it.

    A model: it says what we believe of Kubernetes, and that the commands agree with each other.
    """

    def __init__(self, running: str | None = OLD) -> None:
        self.now, self.live, self.applied, self.alerts = 0.0, None, list[Manifest](), list[dict[str, Any]]()
        self.sets: dict[str, str] = {}  # image by revision
        self.pods: dict[str, int] = {}  # by revision
        self.ready, self.restarts, self.said = True, 0, list[str]()
        self.coming: list[dict[str, Any]] = []  # alerts that fire after a while
        if running:
            self._applies(on_trial(deployment(), running, seconds=0, replicas=3))
            self._control(whole=True)

    def __call__(self, *arguments: str, given: str | None = None) -> str:
        match arguments:
            case ("kustomize", _):
                return yaml.safe_dump_all(OVERLAY)
            case ("apply", _):
                self.applied = list(yaml.safe_load_all(given or ""))
                for found in self.applied:
                    if found["kind"] == "Deployment":
                        self._applies(found)
            case ("get", what, *_):
                return self._gets(what)
            case ("patch", "deployment/orders", _, patch):
                assert self.live
                self.live["spec"] |= json.loads(patch.removeprefix("--patch="))["spec"]
                self.live["metadata"]["generation"] += 1
            case ("rollout", "undo", _):
                assert self.live
                assert not self.live["spec"]["paused"], "a paused Deployment cannot be undone"
                *_, before, _last = sorted(self.sets, key=int)
                self._template(self.sets[before])
            case ("rollout", "status", *_):
                assert self.live
                assert not self.live["spec"]["paused"], "it would wait for ever"
                self._control(whole=True)
            case _:
                raise AssertionError(arguments)
        return ""

    def _gets(self, what: str) -> str:
        if what.startswith("--raw="):
            assert what == "--raw=/api/v1/namespaces/watch/services/prometheus:9090/proxy/api/v1/alerts"
            return json.dumps({"data": {"alerts": self.alerts}})
        if what == "deployment/orders":
            self._control()
            return json.dumps(self.live) if self.live else ""
        return json.dumps({"items": self._listed(what)})

    def _applies(self, found: Manifest) -> None:
        old = self.live
        self.live = {**found, "metadata": {**found["metadata"], "annotations": {}, "generation": 1}, "status": {}}
        if old:
            self.live["metadata"] |= {"generation": old["metadata"]["generation"] + 1}
            self.live["metadata"]["annotations"] = old["metadata"]["annotations"]
            self.live["status"] = old["status"]

    def _template(self, image: str) -> None:
        assert self.live
        self.live["spec"]["template"]["spec"]["containers"][1]["image"] = image

    def _control(self, *, whole: bool = False) -> None:
        """Make the newest template's first pod; replace the others where nothing holds the rollout back."""
        if self.live is None:
            return
        spec, image = self.live["spec"], image_of(self.live, "registry.example:5000/shop/orders") or ""
        if not spec["paused"]:
            known = [revision for revision, of in self.sets.items() if of == image]
            revision = str(max(map(int, self.sets), default=0) + 1)
            if not known or known[0] != max(self.sets, key=int):
                for gone in known:  # an old set that is taken up again gets the newest number
                    self.sets.pop(gone)
                    self.pods.pop(gone, None)
                self.sets[revision] = image
                self.live["metadata"]["annotations"][REVISION] = revision
                self.pods[revision] = 1
            newest = max(self.sets, key=int)
            if whole or len(self.sets) == 1:
                self.pods = {newest: spec["replicas"]}
            updated = {"updatedReplicas": self.pods[newest]}
            self.live["status"] = updated
        self.live["status"]["observedGeneration"] = self.live["metadata"]["generation"]

    def _listed(self, kind: str) -> list[Manifest]:
        named = [
            {"metadata": {"name": f"orders-{r}", "annotations": {REVISION: r}, "labels": {HASH: f"h{r}"}}}
            for r in self.sets
        ]
        if kind == "replicasets":
            return named
        condition = {"type": "Ready", "status": "True" if self.ready else "False"}
        status = {"conditions": [condition], "containerStatuses": [{"name": "app", "restartCount": self.restarts}]}
        return [{**one, "status": status} for one in named if self.pods.get(one["metadata"]["annotations"][REVISION])]

    # what is asked of it

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.now > 20:
            self.alerts = self.coming or self.alerts

    def images(self) -> dict[str, int]:
        return {self.sets[revision]: count for revision, count in self.pods.items() if count}

    def delivery(self, *, alerts: str = "") -> Delivery:
        return Delivery(
            "orders", "kafka", kubectl=self, alerts=alerts, tell=self.said.append,
            clock=lambda: self.now, sleep=self.sleep,
        )  # fmt: skip


def test_a_canary_is_one_pod_beside_those_that_run() -> None:
    cluster = Cluster()
    cluster.delivery().canary(NEW, 60)
    assert cluster.images() == {OLD: 3, NEW: 1}
    assert cluster.now >= 60
    assert names(cluster.applied) == ["Service orders", "Service orders-headless", "Deployment orders"]
    assert cluster.live
    assert cluster.live["spec"]["paused"]
    assert cluster.live["spec"]["minReadySeconds"] > 60, "or Kubernetes would go on before it is paused"


def test_what_was_well_is_promoted() -> None:
    cluster = Cluster()
    cluster.delivery().canary(NEW, 60)
    cluster.delivery().promote(NEW)
    assert cluster.images() == {NEW: 3}
    assert cluster.said[-1] == f"orders: every pod runs {NEW}"


ALERT = {"state": "firing", "labels": {"alertname": "OutriggerDeadLetters", "service": "orders"}}


@pytest.mark.parametrize("trouble", ["not ready", "restarted", "alert"])
def test_what_is_not_well_is_taken_back(trouble: str) -> None:
    cluster = Cluster()
    cluster.ready = trouble != "not ready"
    cluster.restarts = int(trouble == "restarted")
    cluster.coming = [ALERT] if trouble == "alert" else []
    with pytest.raises(Failed):
        cluster.delivery(alerts="watch/services/prometheus:9090").canary(NEW, 60)
    assert cluster.images() == {OLD: 3}
    assert cluster.live
    assert not cluster.live["spec"]["paused"]


def test_an_alert_that_fired_before_does_not_keep_its_own_fix_out() -> None:
    cluster = Cluster()
    cluster.alerts = [ALERT]
    cluster.delivery(alerts="watch/services/prometheus:9090").canary(NEW, 60)
    assert cluster.images() == {OLD: 3, NEW: 1}


def test_nothing_is_tried_that_runs_already() -> None:
    cluster = Cluster(NEW)
    cluster.delivery().canary(NEW, 60)
    assert cluster.images() == {NEW: 3}
    assert cluster.said == ["orders runs this already"]


def test_a_trial_that_nobody_ended_is_tried_again() -> None:
    cluster = Cluster()
    cluster.delivery().canary(NEW, 60)
    first = cluster.now
    cluster.delivery().canary(NEW, 60)
    assert cluster.images() == {OLD: 3, NEW: 1}
    assert cluster.now >= first + 60


def test_the_first_version_has_nothing_to_be_compared_with() -> None:
    cluster = Cluster(None)
    cluster.delivery().canary(NEW, 60)
    assert cluster.images() == {NEW: 3}


def test_another_version_than_the_one_on_trial_is_not_promoted() -> None:
    cluster = Cluster()
    cluster.delivery().canary(NEW, 60)
    with pytest.raises(Failed, match=r"has .*bb on trial by now, not .*cc"):
        cluster.delivery().promote(NEW.replace("bb", "cc"))
    assert cluster.images() == {OLD: 3, NEW: 1}


@pytest.mark.parametrize("promoted", [False, True])
def test_a_rollback_ends_a_trial_or_undoes_the_last_version(promoted: bool) -> None:
    cluster = Cluster()
    cluster.delivery().canary(NEW, 60)
    if promoted:
        cluster.delivery().promote(NEW)
    cluster.delivery().rollback()
    assert cluster.images() == {OLD: 3}


def test_what_an_autoscaler_chose_stays() -> None:
    cluster = Cluster()
    assert cluster.live
    cluster.live["spec"]["replicas"] = 7
    cluster.delivery().canary(NEW, 60)
    assert cluster.live["spec"]["replicas"] == 7


def test_the_platform_is_what_belongs_to_nobody() -> None:
    cluster = Cluster()
    assert platform("kafka", ["orders", "users"], kubectl=cluster) == ["Namespace outrigger", "Component store"]
    assert names(cluster.applied) == ["Namespace outrigger", "Component store"]


def test_only_a_services_own_alerts_count_and_only_while_they_fire() -> None:
    def alert(state: str, service: str) -> dict[str, Any]:
        return {"state": state, "labels": {"alertname": "A", "service": service}}

    told = {"data": {"alerts": [alert("firing", "users"), alert("pending", "orders"), alert("firing", "orders")]}}
    assert firing(told, "orders") == ["A fires"]
    assert ready([]) is False
    assert fallen([{"metadata": {"name": "p"}, "status": {}}]) == []


# who we are, for a cluster


@contextmanager
def github() -> Iterator[tuple[str, list[str]]]:
    """Answer as a runner's token service does; yields its address and what it was asked."""
    asked: list[str] = []

    class Tokens(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"{self.path} {self.headers['authorization']}")
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"value": "signed"}')

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Tokens)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/token?api-version=2.0", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_token_is_asked_for_the_cluster_alone() -> None:
    with github() as (address, asked):
        environment = {"ACTIONS_ID_TOKEN_REQUEST_URL": address, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "for this job"}
        answer = login.credential(environment)
    assert asked == ["/token?api-version=2.0&audience=kubernetes bearer for this job"]
    assert answer["kind"] == "ExecCredential"
    assert answer["status"] == {"token": "signed"}


def test_without_the_permission_it_says_so() -> None:
    with pytest.raises(login.NotOnGitHub, match="lacks the permission id-token: write"):
        login.credential({})


def test_a_kubeconfig_holds_no_secret_and_is_its_owners_alone(tmp_path: Path) -> None:
    file = tmp_path / "kubeconfig"
    login.write(file, login.kubeconfig("https://cluster.example", "Y2E=", "outrigger"))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    config = yaml.safe_load(file.read_text())
    assert config["users"][0]["user"].keys() == {"exec"}
    command = config["users"][0]["user"]["exec"]
    told = subprocess.run(
        [command["command"], *command["args"]], env={e["name"]: e["value"] for e in command["env"]},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert told.returncode == 1
    assert "id-token: write" in told.stderr
