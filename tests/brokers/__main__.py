"""Write the table of docs/brokers.md from the last run; the exit code is 1 if the page said otherwise."""

import json
import sys

from brokers.book import KEPT, PAGE, noted, written
from outrigger.choice import Broker


def main() -> None:
    """Compare, and write."""
    before = PAGE.read_text()
    after = written(before, json.loads(KEPT.read_text()), [str(broker) for broker in Broker])
    PAGE.write_text(after)
    if noted(before) != noted(after):
        sys.exit(f"{PAGE} said otherwise than this run; it is written anew: see `git diff docs/brokers.md`")


if __name__ == "__main__":
    main()
