"""Without the tables, workers and commands say which database and schema lacks them, in one line."""

from __future__ import annotations

import io
import logging
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import DatabaseError, OperationalError, transaction

from cf_images import background
from cf_images.background import huey_tasks, tables
from cf_images.models import Upload
from tests.background import databases

SUBCOMMANDS = [["process"], ["process", "--loop"], ["uploads"], ["prune"], ["resume"]]


@pytest.fixture(params=databases.EACH)
def without_tables(
    request: Any, tmp_path: Path, django_db_blocker: Any, monkeypatch: pytest.MonkeyPatch
) -> Any:
    """A connection to a database without our tables."""
    with (
        django_db_blocker.unblock(),
        request.param(tmp_path) as chosen,
        databases.use(chosen, monkeypatch) as connection,
    ):
        call_command("migrate", "cf_images", "zero", database=databases.ALIAS, verbosity=0)
        yield connection


@pytest.mark.parametrize("arguments", SUBCOMMANDS, ids=" ".join)
def test_a_command_ends_with_one_clear_error(without_tables: Any, arguments: list[str]) -> None:
    with pytest.raises(CommandError) as error:
        call_command("cf_images", *arguments, stdout=io.StringIO(), stderr=io.StringIO())
    text = str(error.value)
    assert text.startswith("The database 'other'")
    assert "has no table cf_images_upload: run `manage.py migrate`" in text
    assert ("(schema 'public')" in text) is (without_tables.vendor == "postgresql")
    assert error.value.__cause__ is None


@pytest.mark.parametrize("task", ["cf_images_process", "cf_images_sweep", "cf_images_start"])
def test_a_task_of_huey_logs_one_line_without_a_traceback(
    without_tables: Any, caplog: Any, task: str
) -> None:
    function = getattr(huey_tasks, task)
    getattr(function, "call_local", function)()
    [record] = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert (record.name, record.levelno, record.exc_info) == ("cf_images.background", logging.ERROR, None)
    assert "No image is uploaded. The database 'other'" in record.getMessage()


def test_another_queue_gets_an_error_with_the_same_words(without_tables: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match="has no table cf_images_upload"):
        background.process()


def test_any_other_error_of_the_database_stays_what_it_is(db: Any) -> None:
    with pytest.raises(OperationalError, match="locked"), tables.required():
        raise OperationalError("database is locked")


@pytest.mark.parametrize("database", [databases.sqlite, databases.POSTGRESQL])
def test_a_table_that_is_locked_is_not_missing(
    database: databases.Database, tmp_path: Path, django_db_blocker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with django_db_blocker.unblock(), database(tmp_path) as found:
        rollback_journal = {"timeout": 0}  # Django's default, and no patience
        impatient = {"options": "-c lock_timeout=10"}
        is_sqlite = found["ENGINE"].endswith("sqlite3")
        chosen = {**found, "OPTIONS": rollback_journal if is_sqlite else impatient}
        with databases.use(chosen, monkeypatch) as connection, closing(connection.copy()) as other:
            other.ensure_connection()
            other.cursor().execute("BEGIN EXCLUSIVE" if is_sqlite else "BEGIN")
            if not is_sqlite:
                other.cursor().execute("LOCK TABLE cf_images_upload")
            with pytest.raises(OperationalError, match="lock"), tables.required():
                Upload.objects.using(databases.ALIAS).exists()


def test_an_error_in_a_failed_transaction_stays_what_it_is(without_tables: Any) -> None:
    if without_tables.vendor != "postgresql":
        pytest.skip("only PostgreSQL refuses all statements after a failed one")
    with (
        pytest.raises(DatabaseError, match="relation"),
        transaction.atomic(databases.ALIAS),
        tables.required(),
    ):
        without_tables.cursor().execute("SELECT 1 FROM cf_images_upload")


def test_a_database_that_is_away_is_not_called_empty(
    without_tables: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> Any:
        raise OperationalError("no connection")

    monkeypatch.setattr(without_tables, "cursor", refuse)
    with pytest.raises(OperationalError, match="no connection"), tables.required():
        without_tables.cursor()
