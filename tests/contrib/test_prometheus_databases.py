"""A scrape beside a database that is away or empty, and what it leaves of connections."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from cf_images.contrib.prometheus import CloudflareImagesCollector
from tests.background import databases


@pytest.fixture(params=databases.EACH)
def database(
    request: Any, tmp_path: Path, django_db_blocker: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """A connection to a new database."""
    with (
        django_db_blocker.unblock(),
        request.param(tmp_path) as chosen,
        databases.use(chosen, monkeypatch) as connection,
    ):
        yield connection


def up(collector: CloudflareImagesCollector) -> list[float]:
    """Return the value of ``cf_images_up``, and assert that it comes with the others or alone."""
    families = list(collector.collect())
    (value,) = [sample.value for sample in families[0].samples]
    assert (len(families) > 1) is (value == 1)
    return [value]


def test_database_that_is_away_is_up_0_and_logged_once(
    database: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    is_file = database.vendor == "sqlite"
    away = {"NAME": str(tmp_path / "no folder" / "x")} if is_file else {"HOST": "127.0.0.1", "PORT": "1"}
    collector = CloudflareImagesCollector()
    assert up(collector) == [1]
    database.close()
    with monkeypatch.context() as patched:
        for key, value in away.items():
            patched.setitem(database.settings_dict, key, value)
        for _ in range(3):
            assert up(collector) == [0]
    assert up(collector) == [1]
    first, second = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert first == "The figures of Cloudflare Images cannot be read: OperationalError"
    assert second == "The figures can be read again."


def test_tables_that_are_missing_are_named(database: Any, caplog: pytest.LogCaptureFixture) -> None:
    call_command("migrate", "cf_images", "zero", database=databases.ALIAS, verbosity=0)
    assert up(CloudflareImagesCollector()) == [0]
    assert "has no table cf_images_upload: run `manage.py migrate`" in caplog.text


def test_connection_is_left_as_it_was(database: Any) -> None:
    """A server of metrics may have a thread for each scrape."""
    database.close()
    assert up(CloudflareImagesCollector()) == [1]
    assert database.connection is None
    database.ensure_connection()
    before = database.connection
    assert up(CloudflareImagesCollector()) == [1]
    assert database.connection is before
