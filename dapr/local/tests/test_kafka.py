"""Kafka as a part, as far as no Java is needed to see it."""

import secrets

import pytest

from outrigger.kafka import cluster_id


def test_a_cluster_s_name_is_no_option(monkeypatch: pytest.MonkeyPatch) -> None:
    made = iter(["-Tz4xN2mS6u0bL1fQ9wYgA", "--4xN2mS6u0bL1fQ9wYgAb", "Tz4xN2mS6u0bL1fQ9wYgAb"])
    monkeypatch.setattr(secrets, "token_urlsafe", lambda _bytes: next(made))
    assert cluster_id() == "Tz4xN2mS6u0bL1fQ9wYgAb"
