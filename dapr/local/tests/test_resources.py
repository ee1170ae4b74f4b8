"""Rendering: only a run's addresses differ from what components/ says."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from outrigger.errors import LauncherError
from outrigger.home import Home
from outrigger.resources import render, resource_kinds
from outrigger.template import read_template, resolve

ADDRESSES = {("pubsub.redis", "redisHost"): "127.0.0.1:7777"}


def folders(home: Home) -> list[Path]:
    return [resolve(home.template.parent, path) for path in read_template(home.template).common.resources_paths]


def document(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text())


def metadata(path: Path) -> dict[str, str]:
    return {item["name"]: item["value"] for item in document(path)["spec"]["metadata"]}


def test_only_the_address_differs(home: Home) -> None:
    rendered = {path.name: path for path in render(folders(home), home.resources, ADDRESSES)}
    source = home.root / "components/broker/redis/pubsub.yaml"
    changed = metadata(rendered["pubsub.yaml"])
    assert changed.pop("redisHost") == "127.0.0.1:7777"
    assert changed.items() < metadata(source).items()


def test_what_has_no_address_is_as_written(home: Home) -> None:
    rendered = {path.name: path for path in render(folders(home), home.resources, ADDRESSES)}
    assert document(rendered["resiliency.yaml"]) == document(home.root / "components/platform/resiliency.yaml")
    assert document(rendered["store.yaml"]) == document(home.root / "components/store/sqlite/store.yaml")


def test_what_an_earlier_run_rendered_is_removed(home: Home) -> None:
    home.resources.mkdir(parents=True)
    (home.resources / "gone.yaml").write_text("kind: Component")
    written = render(folders(home), home.resources, {})
    assert set(home.resources.iterdir()) == set(written)


def test_two_files_of_one_name_are_refused(home: Home) -> None:
    (home.root / "components/platform/pubsub.yaml").write_text("kind: Component")
    with pytest.raises(LauncherError, match="one name"):
        render(folders(home), home.resources, {})


def test_a_folder_that_is_not_there_is_refused(home: Home) -> None:
    with pytest.raises(LauncherError, match="which is no folder"):
        resource_kinds([home.root / "components/broker/none"])


def test_the_kinds_tell_which_parts_are_needed(home: Home) -> None:
    assert resource_kinds(folders(home)) == {
        "HTTPEndpoint/bank", "bindings.localstorage", "pubsub.redis", "secretstores.local.file", "state.sqlite",
    }  # fmt: skip
