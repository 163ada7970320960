"""Say which database and schema lack the tables: not migrated, routed elsewhere, or a tenant's only."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, ProgrammingError, connections

from cf_images.background.rows import database
from cf_images.models import Transfer, Upload

logger = logging.getLogger("cf_images.background")

P = ParamSpec("P")

_PERMISSION_DENIED = "42501"  # "PostgreSQL Error Codes"


class MissingTablesError(ImproperlyConfigured):
    """The database has no tables of this package."""


@contextmanager
def required() -> Iterator[None]:
    """Raise ``MissingTablesError`` instead of the database's error about a table that does not exist."""
    try:
        yield
    except DatabaseError as error:
        if problem := _problem():
            raise MissingTablesError(problem) from error
        raise


def reported(task: Callable[P, None]) -> Callable[P, None]:
    """Let a task of a queue log one line where tables are missing; the queue would log a traceback."""

    @wraps(task)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            with required():
                task(*args, **kwargs)
        except MissingTablesError as error:
            logger.error("No image is uploaded. %s", error)

    return run


def _problem() -> str:
    """Return what to do about a missing table; an empty string if there is none, or no database."""
    connection = connections[database()]
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            schemas = _schemas(cursor) if connection.vendor == "postgresql" else ""
    except DatabaseError:
        return ""  # no connection, or a transaction that has failed: nothing can be said
    for table in (Upload._meta.db_table, Transfer._meta.db_table):  # a later migration makes the second
        try:
            with connection.cursor() as cursor:
                cursor.execute(f"SELECT 1 FROM {connection.ops.quote_name(table)} WHERE 1 = 0")  # noqa: S608  # quoted
        except DatabaseError as error:
            if not _says_missing(error):
                return ""  # locked, for example, which passes
            return (
                f"The database {connection.alias!r}{schemas} has no table {table}: run `manage.py migrate`, "
                f"and check DATABASE_ROUTERS. With django-tenants, cf_images belongs to SHARED_APPS alone."
            )
    return ""


def _says_missing(error: DatabaseError) -> bool:
    # SQLite has one kind of error for a table that is missing and for one that is locked; PostgreSQL for one
    # that is missing and one that this user may not read.
    is_forbidden = getattr(error.__cause__, "sqlstate", None) == _PERMISSION_DENIED
    return (isinstance(error, ProgrammingError) and not is_forbidden) or "no such table" in str(error)


def _schemas(cursor: Any) -> str:
    """Return the schemas in which PostgreSQL looks for a table."""
    cursor.execute("SELECT schema FROM unnest(current_schemas(false)) AS schema")
    found = ", ".join(repr(schema) for (schema,) in cursor.fetchall())
    return f" (schema {found or 'none'})"
