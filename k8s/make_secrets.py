"""Print the Secrets that the manifests refer to, with values made up here.

`python3 k8s/make_secrets.py | kubectl create -f -` changes none that is there.
`--local` adds those of the stand-ins in overlay `local`; where
broker and databases are somebody else's, their owners need the passwords that this made, or you theirs.
"""

import argparse
import base64
import json
import secrets

SERVICES = ("gateway", "users", "orders", "inventory", "payments", "notifications")
STATEFUL = SERVICES[1:]


def made() -> str:
    """Make a secret up; of letters, digits, - and _, so that it needs no quoting anywhere."""
    return secrets.token_urlsafe(32)


def secret(namespace: str, name: str, **values: str) -> dict[str, object]:
    """Return one Secret; `_` in a key stands for `-`, and `__` for a dot."""
    keys = {key.replace("__", ".").replace("_", "-"): value for key, value in values.items()}
    data = {key: base64.b64encode(value.encode()).decode() for key, value in keys.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}, "data": data}


def credentials(service: str, password: str) -> str:
    """Return what a service's sidecar knows: the keys are those of components/."""
    database = f"host={service}-db port=5432 user={service} password={password} dbname={service}"
    return json.dumps({"password": password, "postgresql": database})


def everything(*, local: bool) -> list[dict[str, object]]:
    """Return all Secrets."""
    passwords = {service: made() for service in STATEFUL}
    key = made()
    found = [secret("outrigger", f"{name}-api-token", token=made()) for name in SERVICES]
    found += [secret("outrigger", f"{name}-app-token", token=made()) for name in STATEFUL]
    for service, password in passwords.items():
        found.append(secret("outrigger", f"{service}-credentials", credentials__json=credentials(service, password)))
    found.append(secret("outrigger", "payments-secrets", secrets__json=json.dumps({"bank-api-key": key})))
    if local:
        found.append(secret("backing", "postgresql-passwords", postgres=made(), **passwords))
        found.append(secret("backing", "bank-api-key", bank_api_key=key))
    return found


def main() -> None:
    """Print them as one list."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--local", action="store_true", help="also for the stand-ins of overlay `local`")
    items = everything(local=parser.parse_args().local)
    print(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))


if __name__ == "__main__":
    main()
