"""Imports are killed again and again while Cloudflare fails: nothing is lost, nothing is doubled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.background.test_chaos import needs
from tests.chaos import moving

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(600)]  # under a minute on an idle machine
POSTGRESQL = needs("PostgreSQL")


@pytest.mark.parametrize(
    "site",
    [
        pytest.param(moving.on_sqlite, id="SQLite", marks=() if POSTGRESQL.args[0] else pytest.mark.every),
        pytest.param(moving.on_postgresql, id="PostgreSQL", marks=POSTGRESQL),
    ],
)
def test_nothing_is_lost_or_doubled_by_killed_imports(
    site: Callable[[moving.Move], dict[str, Any]], record_property: Callable[[str, object], None]
) -> None:
    move = moving.Move()
    found = site(move)
    record_property("figures", ", ".join(f"{name} {figure}" for name, figure in found.items()))
    harm = ("lost", "different", "doubled", "unknown", "pending", "images with the bytes of another")
    assert {name: found[name] for name in harm} == dict.fromkeys(harm, 0)
    assert found["verify --bytes"] == "200 files equal, byte for byte."
    assert found["kill -9"] >= 15, "most of the kills must hit imports that run"
    assert found["rows leased when killed"] >= move.kills, "the kills must hit imports that work"
    assert found["attempts"] > move.images
