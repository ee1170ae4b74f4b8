"""The sidecar that a cluster runs is the launcher's, but where it must differ, which is written here."""

from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from deploy.injected import arguments, injected, sidecar
from deploy.manifests import K8S, OVERLAYS, SERVICES, Manifest, named, of, one, rendered, walk
from outrigger.commands import Ports, sidecar_command
from outrigger.home import Home
from outrigger.template import read_template
from support.installation import REPOSITORY

HOME = Home(REPOSITORY)
TEMPLATE = read_template(HOME.template)
SAME = {"app-id", "app-protocol", "dapr-block-shutdown-duration", "dapr-graceful-shutdown-seconds"}
SAME |= {"app-max-concurrency", "max-body-size", "read-buffer-size", "dapr-http-max-request-size"}
SAME |= {"enable-app-health-check", "app-health-check-path", "app-health-probe-interval", "app-health-probe-timeout"}
SAME |= {"app-health-threshold"}
# Where a flag is not given, this holds.
DEFAULTS = {"log-level": "info"}
DIFFERENT = {
    "app-port": "8080 in every pod; a host has room for one 8080",
    "config": "the name of a resource, not a file; its content is compared below",
    "dapr-http-port": "the injector's own",
    "dapr-grpc-port": "the injector's own",
    "dapr-internal-grpc-port": "the injector's own; the network policies rest on it",
    "dapr-public-port": "for the cluster's probes",
    "dapr-listen-addresses": "the injector's own: inside of the pod, as on the loopback address here",
    "dapr-internal-grpc-listen-address": "other pods call there; under mutual TLS",
    "resources-path": "from the operator; their content is compared below",
    "mode": "kubernetes",
    "control-plane-address": "the operator",
    "sentry-address": "identities",
    "enable-mtls": "identities",
    "enable-metrics": "1.14 listens for them on every address, which in a pod the network policies close",
    "metrics-port": "only where there are metrics",
    "placement-host-address": "blank, which is none",
    "disable-builtin-k8s-secret-store": "there is none here",
    "log-as-json": "for who collects logs",
}


def here(name: str) -> dict[str, str]:
    """Return what the launcher tells a service's sidecar."""
    app = next(each for each in TEMPLATE.apps if each.app_id == name)
    return arguments(sidecar_command(HOME, TEMPLATE, app, Ports(1, 2, 3, 4), REPOSITORY).argv[1:])


def there(overlay: str, name: str) -> dict[str, str]:
    """Return what the injector tells it in a cluster."""
    first, *rest = sidecar(injected(overlay)[name])["args"]
    assert first == "/daprd"
    return arguments(rest)


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("name", SERVICES)
def test_what_may_be_the_same_is_the_same(overlay: str, name: str) -> None:
    one, other = {**DEFAULTS, **here(name)}, {**DEFAULTS, **there(overlay, name)}
    assert one["app-id"] == name
    assert (one.keys() | other.keys()) <= SAME | DIFFERENT.keys() | DEFAULTS.keys()
    for flag in SAME | DEFAULTS.keys():
        assert one.get(flag) == other.get(flag), flag


def test_every_difference_is_one() -> None:
    pairs = [(here(name), there("local", name)) for name in SERVICES]
    assert [flag for flag in DIFFERENT if all(a.get(flag) == b.get(flag) for a, b in pairs)] == []


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_the_injector_makes_of_a_pod_is_what_it_was_told(overlay: str) -> None:
    for name, each in injected(overlay).items():
        told, given = there(overlay, name), sidecar(each)
        assert told["app-port"] == "8080"
        assert told["placement-host-address"] == " "
        assert told["dapr-internal-grpc-port"] == "50002"
        assert told["config"] == name.removesuffix("-canary")
        environment = {each["name"]: each.get("value") for each in given["env"]}
        assert environment["GOGC"] == "200"
        assert environment["GOMEMLIMIT"] == "512MiB"
        assert environment["DAPR_SCHEDULER_HOST_ADDRESS"].endswith(".dapr-system.svc.cluster.local:50006")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_sidecar_has_the_volumes_that_its_resources_name(overlay: str) -> None:
    paths = {
        (scope, value)
        for each in of(rendered(overlay), "Component")
        for _, value in walk(each["spec"])
        if isinstance(value, str) and value.startswith("/mnt/")
        for scope in each["scopes"]
    }
    assert len(paths) > 6
    for name, each in injected(overlay).items():
        mounts = {mount["mountPath"]: mount for mount in sidecar(each)["volumeMounts"]}
        wanted = {value for scope, value in paths if scope == name}
        assert {m for m in mounts if m.startswith("/mnt/")} == {
            v.removesuffix(".json").rsplit("/", v.endswith(".json"))[0] for v in wanted
        }
        assert [m for m in mounts if not mounts[m].get("readOnly")] == (
            ["/mnt/mail"] if name == "notifications" else []
        )


# The resources themselves: not copied, so they are the same but for this.
ADDRESSES = {
    ("Component", "pubsub"): {("spec", "metadata", 0, "value")},
    ("Component", "store"): set(),
    ("Component", "mail"): {("spec", "metadata", 0, "value")},
    ("Component", "credentials"): {("spec", "metadata", 0, "value")},
    ("Component", "secrets"): {("spec", "metadata", 0, "value")},
    ("HTTPEndpoint", "bank"): {("spec", "baseUrl")},
    ("Resiliency", "resiliency"): set(),
    ("Resiliency", "resiliency-gateway"): set(),
}


def sources(broker: str) -> dict[tuple[str, str], Manifest]:
    folders = [f"broker/{broker}", "store/postgresql", "mail/localstorage", "platform"]
    files = [file for folder in folders for file in (REPOSITORY / "components" / folder).glob("*.yaml")]
    documents = [yaml.safe_load(file.read_text()) for file in files]
    return {(each["kind"], each["metadata"]["name"]): each for each in documents}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_resources_are_those_of_components(overlay: str) -> None:
    known = sources(OVERLAYS[overlay])
    assert known.keys() == ADDRESSES.keys()
    found = of(rendered(overlay), *{kind for kind, _ in known})
    assert {(each["kind"], each["metadata"]["name"]) for each in found} == known.keys()
    for each in found:
        key = each["kind"], each["metadata"]["name"]
        differences = {path for path, value in _leaves(each) ^ _leaves(known[key])}
        assert differences <= ADDRESSES[key], named(each)
        assert each["scopes"] == known[key]["scopes"]


def _leaves(manifest: Manifest) -> set[tuple[tuple[str | int, ...], Any]]:
    return {(path, value) for path, value in walk(manifest) if path[0] in {"spec", "auth"}}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_configuration_is_that_of_the_launcher(overlay: str) -> None:
    known = yaml.safe_load((REPOSITORY / "dapr" / "config.yaml").read_text())
    for name in SERVICES:
        spec = dict(one(rendered(overlay), "Configuration", name)["spec"])
        assert spec.pop("mtls").keys() | spec.pop("accessControl").keys()
        assert _without_zipkin(spec) == _without_zipkin(known["spec"])
        assert spec["tracing"]["zipkin"]["endpointAddress"] == "http://zipkin:9411/api/v2/spans"


def _without_zipkin(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """And without the secret store that only clusters have."""
    scopes = [each for each in spec["secrets"]["scopes"] if each["storeName"] != "kubernetes"]
    return {**spec, "tracing": {**spec["tracing"], "zipkin": None}, "secrets": {"scopes": scopes}}


def test_nothing_in_k8s_is_a_copy_of_a_resource() -> None:
    """A resource of Dapr's in k8s/ is a patch for one of components/ or dapr/."""
    texts = {file: file.read_text() for file in K8S.rglob("*.yaml")}
    assert [str(file.relative_to(K8S)) for file, text in texts.items() if "dapr.io/v1alpha1" in text] == [
        "base/platform/mtls.yaml"
    ]
