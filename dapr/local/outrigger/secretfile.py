"""The file behind the secret store: random keys that sidecars and the bank read, and nothing else of ours does."""

import json
import os
import secrets
import tempfile
from pathlib import Path

from outrigger.errors import LauncherError

BANK_KEY = "bank-api-key"
_BYTES = 32
_OURS_ALONE = 0o600


def make_secrets(path: Path) -> None:
    """Add the keys that are missing; those that are there stay. The file is its owner's alone."""
    known = read_keys(path)
    if BANK_KEY not in known:
        write_keys(path, {**known, BANK_KEY: secrets.token_urlsafe(_BYTES)})
    path.chmod(_OURS_ALONE)


def read_keys(path: Path) -> dict[str, str]:
    """Read a file of keys; one that is not there holds none. Raises `LauncherError`."""
    try:
        return dict(json.loads(path.read_text()))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError):  # the text of an error could hold a secret
        raise LauncherError(f"{path} cannot be read as JSON: delete it, and new keys are made.") from None


def write_keys(path: Path, keys: dict[str, str]) -> None:
    """Replace the file in one step; a draft is readable by nobody else from its first byte on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=".secrets-")
    with os.fdopen(descriptor, "w") as file:
        json.dump(keys, file)
    Path(draft).replace(path)
