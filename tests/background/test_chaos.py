"""Workers are killed again and again while Cloudflare fails: nothing is lost, nothing is doubled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.chaos import scenario, servers

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(900)]  # under two minutes on an idle machine


def needs(*names: str) -> pytest.MarkDecorator:
    refusal = servers.refusal(*names)
    return pytest.mark.skipif(bool(refusal), reason=refusal)


@pytest.mark.parametrize(
    "site",
    [
        pytest.param(scenario.on_sqlite, id="SQLite and SqliteHuey"),
        pytest.param(
            scenario.on_servers,
            id="PostgreSQL and Redis",
            marks=needs("PostgreSQL", "Redis"),
        ),
        pytest.param(scenario.on_mariadb, id="MariaDB and process --loop", marks=needs("MariaDB")),
    ],
)
def test_nothing_is_lost_or_doubled(
    site: Callable[[scenario.Plan], dict[str, Any]], record_property: Callable[[str, object], None]
) -> None:
    plan = scenario.Plan(patience=600)
    found = site(plan)
    record_property("figures", ", ".join(f"{name} {figure}" for name, figure in found.items()))
    harm = ("lost", "different", "doubled", "unknown", "pending", "not deleted", "chunks")
    assert {name: found[name] for name in harm} == dict.fromkeys(harm, 0)
    assert found["uploads"] == plan.uploads
    assert found["kill -9"] >= 20
    assert found["rows leased when killed"] >= plan.kills, "the kills must hit workers that work"
    assert found["attempts"] > plan.uploads
