"""Every manifest is what an API server would accept, by the schemas of Kubernetes, Dapr, Istio and KEDA."""

import copy
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from jsonschema import Draft202012Validator

from deploy.manifests import OVERLAYS, Manifest, Manifests, named, one, rendered, scaled_by_events
from deploy.tools import RUNTIME, module_folder

OLDEST, NEWEST = "1.30", "1.37"  # of Kubernetes: preStop.sleep is there since 1.30
CRDS = {
    ("github.com/dapr/dapr", RUNTIME): "charts/dapr/crds/*.yaml",
    ("istio.io/api", RUNTIME / "crds-k8s"): "kubernetes/customresourcedefinitions.gen.yaml",
    ("github.com/kedacore/keda/v2", RUNTIME / "crds-k8s"): "config/crd/bases/keda.sh_*.yaml",
}
BUILTIN = {"v1", "apps/v1", "autoscaling/v2", "policy/v1", "networking.k8s.io/v1"}
CUSTOM = {"dapr.io", "keda.sh", "networking.istio.io", "security.istio.io"}


def strict(schema: Any) -> Any:
    """Forbid what a schema does not name, as the API server does when it is asked to be strict."""
    if isinstance(schema, dict):
        closed = {key: strict(value) for key, value in schema.items()}
        open_ended = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
        if "properties" in schema and schema.get("type") == "object" and not open_ended:
            closed["additionalProperties"] = False
        return closed
    return [strict(each) for each in schema] if isinstance(schema, list) else schema


@cache
def definitions() -> dict[tuple[str, str], Any]:
    """Read the schemas of all custom resources: by apiVersion and kind."""
    found = {}
    for (name, pins), pattern in CRDS.items():
        for text in (path.read_text() for path in sorted(module_folder(name, pins).glob(pattern))):
            for document in yaml.load_all(text, yaml.CSafeLoader):
                if document and document["kind"] == "CustomResourceDefinition":
                    found |= dict(_versions(document["spec"]))
    return found


def _versions(spec: dict[str, Any]) -> Iterator[tuple[tuple[str, str], Any]]:
    for version in spec["versions"]:
        schema = copy.deepcopy(version["schema"]["openAPIV3Schema"])
        schema.get("properties", {}).update({"apiVersion": {}, "kind": {}, "metadata": {}})
        yield (f"{spec['group']}/{version['name']}", spec["names"]["kind"]), strict(schema)


def custom(manifest: Manifest) -> bool:
    return (manifest["apiVersion"], manifest["kind"]) in definitions()


def complaints(manifest: Manifest) -> list[str]:
    """Say what the API server would not accept in a custom resource."""
    schema = definitions()[manifest["apiVersion"], manifest["kind"]]
    return [error.message for error in Draft202012Validator(schema).iter_errors(manifest)]


@cache
def manifests() -> Manifests:
    """Return what any overlay holds, with and without KEDA; what several hold, once."""
    all_of_them = (each for name in OVERLAYS for make in (rendered, scaled_by_events) for each in make(name))
    return list({json.dumps(each, sort_keys=True): each for each in all_of_them}.values())


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_kubernetes_would_take_it(version: str) -> None:
    builtin = [each for each in manifests() if not custom(each)]
    assert len(builtin) > 80
    for manifest in builtin:
        kubernetes_validate.validate(dict(manifest), version, strict=True)


def test_dapr_istio_and_keda_would_take_it() -> None:
    found = {(each["apiVersion"], named(each)): complaints(each) for each in manifests() if custom(each)}
    assert {api.partition("/")[0] for api, _ in found} == CUSTOM
    assert {name: what for name, what in found.items() if what} == {}


def test_nothing_is_judged_by_nobody() -> None:
    assert {each["apiVersion"] for each in manifests() if not custom(each)} == BUILTIN


@pytest.mark.parametrize(
    ("kind", "name", "path"),
    [
        ("Component", "store", ("spec", "metadat")),
        ("Configuration", "orders", ("spec", "accessControl", "policy")),
        ("Resiliency", "resiliency", ("spec", "policies", "timeout")),
        ("HTTPEndpoint", "bank", ("spec", "url")),
    ],
)
def test_what_is_misspelt_in_a_resource_of_dapr_s_is_found(kind: str, name: str, path: tuple[str, ...]) -> None:
    broken = copy.deepcopy(dict(one(rendered("local"), kind, name)))
    *way, last = path
    place: Any = broken
    for step in way:
        place = place[step]
    place[last] = "anything"
    assert complaints(broken)


def test_what_is_misspelt_in_a_deployment_is_found() -> None:
    broken = copy.deepcopy(dict(one(rendered("local"), "Deployment", "orders")))
    broken["spec"]["replica"] = 3
    with pytest.raises(kubernetes_validate.ValidationError, match="replica"):
        kubernetes_validate.validate(broken, NEWEST, strict=True)


def test_the_crds_are_those_of_the_daprd_that_runs_here() -> None:
    pins = [(RUNTIME / folder / "go.mod").read_text() for folder in (Path(), Path("tools-k8s"))]
    assert all("github.com/dapr/dapr v1.14.0" in text for text in pins)
