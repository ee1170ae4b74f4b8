"""What each service alone knows to reach broker and store: a file each, behind the secret store `credentials`.

One password a service, made once. What holds a port as well, such as a connection string, is written anew for each run.
"""

import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path

from outrigger.secretfile import read_keys, write_keys

PASSWORD = "password"  # noqa: S105 - the name of a key
_BYTES = 24


def make_credentials(folder: Path, services: Iterable[str], patterns: Mapping[str, str] | None = None) -> None:
    """Write every service's file. `patterns` are texts with {service} and {password} in them, by key."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    for service in services:
        path = folder / f"{service}.json"
        known = read_keys(path)
        password = known.get(PASSWORD) or secrets.token_urlsafe(_BYTES)
        made = {key: text.format(service=service, password=password) for key, text in (patterns or {}).items()}
        if (wanted := {**known, PASSWORD: password, **made}) != known:
            write_keys(path, wanted)


def passwords(folder: Path, services: Iterable[str]) -> dict[str, str]:
    """Read the password of each service."""
    return {service: read_keys(folder / f"{service}.json")[PASSWORD] for service in services}
