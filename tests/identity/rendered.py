"""What follows from the table: scopes, a Configuration for each app in a cluster, the tables of docs/security.md."""

from collections.abc import Iterable
from typing import Any

import yaml

from identity.table import Table, read
from support.installation import REPOSITORY

CLUSTER = REPOSITORY / "dapr" / "cluster"
BASE = REPOSITORY / "dapr" / "config.yaml"
PAGE = REPOSITORY / "docs" / "security.md"
BEGIN, END = "<!-- identity -->", "<!-- /identity -->"
BUILT_IN = "kubernetes"  # the secret store that every sidecar in a cluster has
ZIPKIN = "http://zipkin:9411/api/v2/spans"  # there
NOTE = "# Written by `make identity` from dapr/identity.yaml and dapr/config.yaml: change those.\n"


def topic_scopes(table: Table) -> dict[str, str]:
    """Return the metadata that a pub/sub component must have."""
    return {
        "allowedTopics": ",".join(table.topics),  # no other topic exists
        "protectedTopics": ",".join(table.topics),  # whoever is not named has no part in them
        "publishingScopes": _by_app((app, table.published(app)) for app in table.apps),
        "subscriptionScopes": _by_app((app, table.heard(app)) for app in table.apps),
    }


def _by_app(pairs: Iterable[tuple[str, list[str]]]) -> str:
    return ";".join(f"{app}={','.join(topics)}" for app, topics in pairs if topics)


def secret_scopes(table: Table, *, cluster: bool = False) -> list[dict[str, str]]:
    """Return `spec.secrets.scopes` of a Configuration: no app reads anything."""
    stores = [name for name in table.secrets if cluster or name != BUILT_IN]
    return [{"storeName": name, "defaultAccess": "deny"} for name in stores]


def access_control(table: Table, target: str) -> dict[str, Any]:
    """Return `spec.accessControl` for the sidecar of `target`, which refuses whatever is not listed."""
    callers = {call.caller: [] for call in table.calls() if call.target == target}
    for call in table.calls():
        if call.target == target:
            callers[call.caller].append({"name": call.path, "httpVerb": [call.verb], "action": "allow"})
    policies = [
        {
            "appId": caller, "defaultAction": "deny", "trustDomain": table.trust_domain, "namespace": table.namespace,
            "operations": operations,
        }
        for caller, operations in callers.items()
    ]  # fmt: skip
    return {"defaultAction": "deny", "trustDomain": table.trust_domain, "policies": policies}


def configuration(table: Table, app: str) -> dict[str, Any]:
    """Return the Configuration of an app's sidecar in a cluster: the usual one, with secrets and calls closed."""
    document = yaml.safe_load(BASE.read_text())
    document["metadata"] = {"name": app}
    spec = document["spec"]
    spec["tracing"]["zipkin"]["endpointAddress"] = ZIPKIN
    spec["secrets"] = {"scopes": secret_scopes(table, cluster=True)}
    spec["accessControl"] = access_control(table, app)
    return document


def files(table: Table) -> dict[str, str]:
    """Return the files of dapr/cluster by name."""
    return {
        f"{app}.yaml": NOTE + yaml.dump(configuration(table, app), Dumper=_Dumper, sort_keys=False, width=120)
        for app in table.apps
    }


class _Dumper(yaml.SafeDumper):
    """Quotes what other readers of YAML take for a number, such as 1e-9."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if text[:1].isdigit() else None)


_Dumper.add_representer(str, _text)


def faults(document: dict[str, Any], table: Table) -> list[str]:
    """Say where a Component or HTTPEndpoint gives more or less than the table."""
    if document["kind"] not in {"Component", "HTTPEndpoint"}:
        return []
    name = document["metadata"]["name"]
    wanted, given = table.components.get(name), document.get("scopes")
    if wanted is None:
        return [f"{name} is not in {PAGE.name}'s table: without scopes, everybody may use it"]
    found = [] if given == wanted else [f"{name}: its scopes must be {wanted}, not {given}"]
    if document["spec"].get("type", "").startswith("pubsub."):
        values = {item["name"]: item.get("value") for item in document["spec"]["metadata"]}
        found += [f"{name}: {k} must be\n{v}" for k, v in topic_scopes(table).items() if values.get(k) != v]
    return found


def page(text: str, table: Table) -> str:
    """Return docs/security.md with the tables of today."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    tables = [_calls(table), _topics(table), _uses(table)]
    return f"{before}{BEGIN}\n\n" + "\n\n".join(tables) + f"\n\n{END}{after}"


def _calls(table: Table) -> str:
    found: dict[tuple[str, str], list[str]] = {}
    for target, operations in table.targets.items():
        for operation, callers in operations.items():
            found.setdefault((target, ", ".join(callers)), []).append(f"`{operation}`")
    rows = [(target, callers, ", ".join(names)) for (target, callers), names in found.items()]
    nobody = ", ".join(target for target, operations in table.targets.items() if not operations)
    return _drawn(("called", "by", "with"), [*rows, (nobody, "nobody", "")])


def _topics(table: Table) -> str:
    rows = [(name, ", ".join(t.publish), ", ".join(t.subscribe)) for name, t in table.topics.items()]
    return _drawn(("topic", "published by", "heard by"), rows)


def _uses(table: Table) -> str:
    rows = [(name, ", ".join(apps)) for name, apps in table.components.items()]
    rows += [(f"a secret in `{name}`, to read", "nobody") for name in table.secrets]
    return _drawn(("component", "used by"), rows)


def _drawn(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def renew() -> None:
    """Write all of it."""
    table = read()
    for name, text in files(table).items():
        (CLUSTER / name).write_text(text)
    PAGE.write_text(page(PAGE.read_text(), table))
