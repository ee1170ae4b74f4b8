"""Components for apps that are no services of ours: scopes name ours alone, and would leave them without any."""

from pathlib import Path

import yaml

SHARED = {"pubsub", "store", "credentials"}
TOPICS = {"allowedTopics", "protectedTopics", "publishingScopes", "subscriptionScopes"}


def unscope(folder: Path) -> None:
    """Open broker, store and what they need, in a folder and below it, to every app and topic; the rest stays."""
    for file in folder.rglob("*.yaml"):
        document = yaml.safe_load(file.read_text())
        if document["kind"] == "Component" and document["metadata"]["name"] in SHARED:
            document.pop("scopes", None)
            spec = document["spec"]
            spec["metadata"] = [item for item in spec["metadata"] if item["name"] not in TOPICS]
            file.write_text(yaml.safe_dump(document, sort_keys=False, width=120))
