"""What every pod of every overlay must hold to: limits, identities, restraint, places that are named and found."""

import base64
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache

import pytest

from deploy.injected import PREFIX, injected, known_annotations
from deploy.manifests import (
    BACKING,
    K8S,
    NAME,
    OURS,
    OVERLAYS,
    SERVICES,
    Manifest,
    chosen,
    containers,
    named,
    of,
    one,
    pod,
    rendered,
    scaled_by_events,
    walk,
    workloads,
)
from deploy.tools import run

# What kube-score would have otherwise, and why it is not.
EXCEPTIONS = {
    ("Deployment", "container-image-pull-policy"): "images are pinned: a start asks no registry for what is there",
    ("StatefulSet", "container-image-pull-policy"): "images are pinned: a start asks no registry for what is there",
    (
        "Deployment",
        "deployment-targeted-by-hpa-does-not-have-replicas-configured",
    ): "a service begins with three, which "
    "is also its autoscaler's least: applying it again takes replicas away only until the autoscaler looks again",
    ("HorizontalPodAutoscaler", "horizontalpodautoscaler-replicas"): "overlay local: a laptop has room for one of each",
    (
        "StatefulSet",
        "container-security-context-user-group-id",
    ): "overlay local: PostgreSQL's image has its user as 999",
    ("StatefulSet", "pod-probes"): "overlay local: a stand-in that is slow shall not be killed for it",
    ("Deployment", "deployment-has-host-podantiaffinity"): "topology spread does it, over zones too, and keeps no pod "
    "waiting where there are fewer nodes than replicas",
    ("Deployment", "deployment-replicas"): "overlay istio: one canary",
}


@pytest.fixture(params=OVERLAYS)
def overlay(request: pytest.FixtureRequest) -> str:
    return request.param


def test_a_service_is_as_it_was_ordered() -> None:
    for name in SERVICES:
        deployment = one(rendered("rabbitmq"), "Deployment", name)
        assert deployment["spec"]["replicas"] == 3
        (app,) = deployment["spec"]["template"]["spec"]["containers"]
        limits, requests = app["resources"]["limits"], app["resources"]["requests"]
        assert (requests["cpu"], requests["memory"]) == ("100m", "128Mi")
        assert (limits["cpu"], limits["memory"]) == ("500m", "256Mi")
        assert [port["containerPort"] for port in app["ports"]] == [8080]
        assert app["livenessProbe"] == _probe("/health", first=30, every=10)
        assert app["readinessProbe"] == _probe("/ready", first=5, every=5)
        (port,) = one(rendered("rabbitmq"), "Service", name)["spec"]["ports"]
        assert (port["port"], port["targetPort"]) == (80, "http")


def _probe(path: str, *, first: int, every: int) -> dict[str, object]:
    get = {"path": path, "port": "http"}
    return {"httpGet": get, "initialDelaySeconds": first, "periodSeconds": every}


def test_a_service_has_all_that_belongs_to_it(overlay: str) -> None:
    manifests = rendered(overlay)
    for name in SERVICES:
        meta = one(manifests, "Deployment", name)["spec"]["template"]
        for kind in ("Service", "ServiceAccount", "HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy"):
            one(manifests, kind, name)
        assert one(manifests, "ServiceAccount", name)["automountServiceAccountToken"] is False
        assert meta["spec"]["serviceAccountName"] == name
        assert meta["spec"]["automountServiceAccountToken"] is False
        spread = meta["spec"]["topologySpreadConstraints"]
        assert {each["topologyKey"] for each in spread} == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}
        assert all(chosen(each["labelSelector"], meta["metadata"]["labels"]) for each in spread)
        assert all(NAME in each["matchLabelKeys"] for each in spread)
        assert one(manifests, "HorizontalPodAutoscaler", name)["spec"]["scaleTargetRef"]["name"] == name


def test_the_services_differ_in_name_only() -> None:
    files = ("service.yaml", "scaling.yaml")
    texts = {f: {(K8S / "base" / name / f).read_text().replace(name, "NAME") for name in SERVICES} for f in files}
    assert [len(each) for each in texts.values()] == [1, 1]


def test_every_selector_chooses_the_pods_of_its_own_and_no_others(overlay: str) -> None:
    made = [pod(each) for each in workloads(rendered(overlay))]
    for each in of(rendered(overlay), "Service", "PodDisruptionBudget", "Deployment", "StatefulSet"):
        selector = each["spec"].get("selector")
        if selector is None:
            continue
        selector = selector if "matchLabels" in selector else {"matchLabels": selector}
        found = {
            p["metadata"]["name"].removesuffix("-canary")
            for p in made
            if p["metadata"]["namespace"] == each["metadata"]["namespace"] and chosen(selector, p["metadata"]["labels"])
        }
        assert len(found) == 1, named(each)
        wanted = "postgresql" if each["metadata"]["name"].endswith("-db") else each["metadata"]["name"]
        assert found == {wanted.removesuffix("-canary")}, named(each)


def test_two_deployments_own_no_pod_together(overlay: str) -> None:
    for each in workloads(rendered(overlay)):
        owners = [
            other for other in workloads(rendered(overlay))
            if other["metadata"]["namespace"] == each["metadata"]["namespace"]
            and chosen(other["spec"]["selector"], pod(each)["metadata"]["labels"])
        ]  # fmt: skip
        assert owners == [each]


def test_images_are_pinned_and_name_no_registry(overlay: str) -> None:
    for workload in workloads(rendered(overlay)):
        for container in containers(pod(workload)["spec"]):
            repository, _, tag = container["image"].partition(":")
            assert re.fullmatch(r"\d[\w.-]*", tag), container["image"]
            first = repository.split("/")[0]
            assert "." not in first, container["image"]
            assert first != "localhost"


def test_everything_has_requests_and_limits(overlay: str) -> None:
    stateful = [pod(each) for each in of(rendered(overlay), "StatefulSet")]
    for each in (*injected(overlay).values(), *stateful):
        for container in containers(each["spec"]):
            for bound in ("requests", "limits"):
                assert {"cpu", "memory"} <= container["resources"][bound].keys(), (each["metadata"], container["name"])


def faults_of_restraint(spec: dict[str, object]) -> Iterator[str]:
    """Say what Pod Security's level `restricted` would refuse in a pod."""
    general = spec.get("securityContext") or {}
    assert isinstance(general, dict)
    yield from (name for name in ("hostNetwork", "hostPID", "hostIPC", "hostUsers") if spec.get(name))
    for volume in spec.get("volumes") or ():  # type: ignore[attr-defined]
        kinds = volume.keys() - {"name"}
        yield from kinds - {
            "configMap",
            "emptyDir",
            "projected",
            "secret",
            "persistentVolumeClaim",
            "csi",
            "downwardAPI",
        }
    for container in containers(spec):
        own = container.get("securityContext") or {}
        yield from (f"port {port['hostPort']} of the host" for port in container.get("ports", ()) if "hostPort" in port)
        if own.get("privileged"):
            yield "privileged"
        if own.get("allowPrivilegeEscalation") is not False:
            yield f"{container['name']} may escalate"
        if own.get("capabilities", {}).get("drop") != ["ALL"] or own.get("capabilities", {}).get("add"):
            yield f"{container['name']} has capabilities"
        if not own.get("runAsNonRoot", general.get("runAsNonRoot")) or own.get("runAsUser") == 0:
            yield f"{container['name']} may be root"
        profile = own.get("seccompProfile", general.get("seccompProfile")) or {}
        if profile.get("type") not in {"RuntimeDefault", "Localhost"}:
            yield f"{container['name']} has no seccomp profile"
        if own.get("readOnlyRootFilesystem") is not True:  # more than `restricted` asks
            yield f"{container['name']} may write to its root file system"


def test_every_pod_is_restricted_with_its_sidecar(overlay: str) -> None:
    for namespace in of(rendered(overlay), "Namespace"):
        assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    stateful = [pod(each) for each in of(rendered(overlay), "StatefulSet")]
    pods = [*injected(overlay).values(), *stateful]
    assert {each["metadata"]["name"]: list(faults_of_restraint(each["spec"])) for each in pods} == {
        each["metadata"]["name"]: [] for each in pods
    }


@pytest.mark.parametrize(
    "change",
    [
        {"hostNetwork": True},
        {"volumes": [{"name": "host", "hostPath": {"path": "/"}}]},
        {"securityContext": {}},
        {"containers": [{"name": "app", "ports": [{"containerPort": 1, "hostPort": 1}]}]},
        {"containers": [{"name": "app", "securityContext": {"privileged": True}}]},
    ],
)
def test_a_lack_of_restraint_is_found(change: dict[str, object]) -> None:
    spec = pod(one(rendered("local"), "Deployment", "orders"))["spec"]
    assert list(faults_of_restraint(spec)) == []
    assert list(faults_of_restraint({**spec, **change}))


def test_the_app_cannot_reach_what_its_sidecar_knows(overlay: str) -> None:
    for name, each in injected(overlay).items():
        (app,) = (one for one in each["spec"]["containers"] if one["name"] == "app")
        mounted = {mount["name"] for mount in app["volumeMounts"]}
        assert mounted == {"tmp"}, name


def test_no_secret_stands_in_a_manifest_and_every_one_is_made(overlay: str) -> None:
    manifests = rendered(overlay)
    assert of(manifests, "Secret") == []
    made = json.loads(_secrets("--local" if overlay == "local" else ""))["items"]
    known = {(each["metadata"]["namespace"], each["metadata"]["name"]): set(each["data"]) for each in made}
    for namespace, secret, keys in _secrets_named(manifests):
        assert keys <= known.get((namespace, secret), set()), (namespace, secret)
    used = {(namespace, secret) for namespace, secret, _ in _secrets_named(manifests)}
    assert used == known.keys()


def _secrets(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, K8S / "make_secrets.py", *filter(None, words)], capture_output=True, text=True, check=True,
        timeout=60,
    )  # fmt: skip
    return done.stdout


def _secrets_named(manifests: object) -> Iterator[tuple[str, str, set[str]]]:
    for workload in workloads(manifests):  # type: ignore[arg-type]
        made = pod(workload)
        namespace, annotations = made["metadata"]["namespace"], made["metadata"].get("annotations", {})
        for kind in ("api", "app"):
            if secret := annotations.get(f"{PREFIX}{kind}-token-secret"):
                yield namespace, secret, {"token"}
        for volume in made["spec"].get("volumes", ()):
            if "secret" in volume:
                yield namespace, volume["secret"]["secretName"], set()
        for container in containers(made["spec"]):
            for variable in container.get("env", ()):
                if reference := variable.get("valueFrom", {}).get("secretKeyRef"):
                    yield namespace, reference["name"], {reference["key"]}


def test_app_and_sidecar_know_the_same_tokens(overlay: str) -> None:
    for name, each in injected(overlay).items():
        app, daprd = (next(c for c in each["spec"]["containers"] if c["name"] == n) for n in ("app", "daprd"))
        tokens = [
            {e["name"]: e["valueFrom"]["secretKeyRef"] for e in c["env"] if e["name"].endswith("_API_TOKEN")}
            for c in (app, daprd)
        ]
        assert tokens[0] == tokens[1]
        if name.startswith("gateway"):  # which the outside calls, and which nobody may invoke
            assert tokens[0].keys() == {"DAPR_API_TOKEN"}
        else:
            assert tokens[0].keys() == {"APP_API_TOKEN", "DAPR_API_TOKEN"}
            assert tokens[0]["APP_API_TOKEN"] != tokens[0]["DAPR_API_TOKEN"]


def test_the_injector_knows_every_annotation(overlay: str) -> None:
    for deployment in of(rendered(overlay), "Deployment"):
        annotations = deployment["spec"]["template"]["metadata"]["annotations"]
        ours = {name for name in annotations if name.startswith(PREFIX)}
        assert ours
        assert ours <= known_annotations()
        assert all(isinstance(value, str) for value in annotations.values())
    assert "dapr.io/app-idd" not in known_annotations()
    assert len(known_annotations()) > 50


def test_a_pod_goes_only_when_its_sidecar_has_gone(overlay: str) -> None:
    for deployment in of(rendered(overlay), "Deployment"):
        template = deployment["spec"]["template"]
        annotations = template["metadata"]["annotations"]
        block = int(annotations["dapr.io/block-shutdown-duration"].removesuffix("s"))
        closing = int(annotations["dapr.io/graceful-shutdown-seconds"])
        assert template["spec"]["terminationGracePeriodSeconds"] > block + closing
        (app,) = template["spec"]["containers"]
        draining = 20  # chassis/process.py's drain_within
        assert block > app["lifecycle"]["preStop"]["sleep"]["seconds"] + draining


def test_a_sidecar_s_go_keeps_below_its_limit(overlay: str) -> None:
    for deployment in of(rendered(overlay), "Deployment"):
        annotations = deployment["spec"]["template"]["metadata"]["annotations"]
        found = re.search(r"GOMEMLIMIT=(\d+)MiB", annotations["dapr.io/env"])
        limit = int(annotations["dapr.io/sidecar-memory-limit"].removesuffix("Mi"))
        assert found
        assert 0.85 < int(found[1]) / limit <= 0.9


def test_each_deployment_has_one_scaler_with_and_without_keda(overlay: str) -> None:
    for make in (rendered, scaled_by_events):
        scaled = [
            (each["spec"].get("scaleTargetRef") or {})["name"]
            for each in of(make(overlay), "HorizontalPodAutoscaler", "ScaledObject")
        ]
        assert sorted(scaled) == sorted(SERVICES)


def test_every_overlay_keeps_its_books_in_postgresql(overlay: str) -> None:
    stores = [each for each in of(rendered(overlay), "Component") if each["spec"]["type"].startswith("state.")]
    assert [(each["metadata"]["name"], each["spec"]["type"], each["spec"]["version"]) for each in stores] == [
        ("store", "state.postgresql", "v2")
    ]


def test_every_overlay_has_its_broker(overlay: str) -> None:
    (broker,) = (each for each in of(rendered(overlay), "Component") if each["spec"]["type"].startswith("pubsub."))
    assert broker["spec"]["type"] == f"pubsub.{OVERLAYS[overlay]}"


HOST = re.compile(r"^(?:\w+://)?([a-z][a-z0-9.-]*):\d+(?:/\S*)?$|^\w+://([a-z][a-z0-9.-]*)")


def hosts(manifest: Manifest) -> Iterator[str]:
    """Return every host that a manifest names in a value, as `kafka:9092` or `http://zipkin:9411/api`."""
    for path, value in walk(manifest):
        if isinstance(value, str) and path[-1] != "image" and (found := HOST.match(value)):
            yield found[1] or found[2]


def test_every_host_that_is_named_is_a_service_that_is_rendered(overlay: str) -> None:
    manifests = scaled_by_events(overlay)
    services = {
        (each["metadata"]["namespace"], each["metadata"]["name"]): each["spec"] for each in of(manifests, "Service")
    }
    outside = {spec["externalName"] for spec in services.values() if spec.get("type") == "ExternalName"}
    found = {
        host
        for each in manifests
        for host in hosts(each)
        if each["metadata"].get("namespace") == OURS and not host.endswith(".dapr-system.svc.cluster.local")
    }
    assert {"zipkin"} < found
    assert {host for host in found if (OURS, host) not in services and host not in outside} == set()
    if overlay == "local":  # where the stand-ins are rendered too
        assert {name for name in outside if (BACKING, name.split(".")[0]) not in services} == set()
        assert all(name.endswith(".backing.svc.cluster.local") for name in outside)


def test_the_databases_that_the_secrets_name_are_rendered_too(overlay: str) -> None:
    for each in json.loads(_secrets())["items"]:
        if text := each["data"].get("credentials.json"):
            string = json.loads(base64.b64decode(text))["postgresql"]
            host = dict(pair.split("=", 1) for pair in string.split())["host"]
            one(rendered(overlay), "Service", host)


@cache
def score(overlay: str) -> frozenset[tuple[str, str]]:
    """Return what kube-score would have otherwise: kinds, and the names of its checks."""
    text = run("kustomize", "build", K8S / "overlays" / overlay)
    said = json.loads(run("kube-score", "score", "--output-format", "json", "-", told=text, allowed=(0, 1)))
    assert len(said) > 40
    checks = ((judged["type_meta"]["kind"], check) for judged in said for check in judged["checks"])
    return frozenset(
        (kind, check["check"]["id"]) for kind, check in checks if not check["skipped"] and check["grade"] < 10
    )


def test_kube_score_has_no_more_to_say_than_is_written_down() -> None:
    assert frozenset().union(*map(score, OVERLAYS)) == EXCEPTIONS.keys()
