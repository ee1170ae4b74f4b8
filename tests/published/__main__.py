"""`make contracts` renews apps/contracts/schemas, `contracts-check` compares with what was released, or releases."""

import argparse
import sys

from contracts import language
from contracts.compatibility import breaks
from published.documents import CURRENT, RELEASED, documents, put, released, texts, written


def renew() -> int:
    """Write all documents, and take away what is none any more."""
    wanted = {name: written(document) for name, document in documents().items()}
    for name in texts(CURRENT).keys() - wanted.keys():
        (CURRENT / name).unlink()
    for name, text in wanted.items():
        put(CURRENT, name, text)
    sys.stdout.write(f"{len(wanted)} documents in {CURRENT}\n")
    return 0


def check() -> int:
    """Say what others would not survive."""
    lines = breaks(released(), language.schemas())
    sys.stdout.write("\n".join(lines or [f"compatible with the {len(released())} schemas in {RELEASED}"]) + "\n")
    return 1 if lines else 0


def release() -> int:
    """Keep the schemas as they are now for good, unless they break what was released before."""
    if failed := check():
        return failed
    for name, schema in language.schemas().items():
        put(RELEASED, f"{name}.json", written(schema))
    return 0


if __name__ == "__main__":
    acts = {"renew": renew, "check": check, "release": release}
    parser = argparse.ArgumentParser(prog="published", description=__doc__)
    parser.add_argument("act", choices=acts)
    sys.exit(acts[parser.parse_args().act]())
