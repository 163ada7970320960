"""The databases that this package supports, one after the other: new ones, beside that of the tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import DEFAULT_DB_ALIAS, OperationalError, connections, router

from tests.background.test_chaos import needs
from tests.chaos import servers

Database = Callable[[Path], AbstractContextManager[dict[str, Any]]]

ALIAS = "other"


def sqlite(folder: Path) -> AbstractContextManager[dict[str, Any]]:
    """A file in ``folder``."""
    return nullcontext(servers.sqlite(folder))


def postgresql(_: Path) -> AbstractContextManager[dict[str, Any]]:
    """A database of the server of this machine."""
    return servers.postgresql()


def mariadb(_: Path) -> AbstractContextManager[dict[str, Any]]:
    """A database of the server of this machine."""
    return servers.mariadb()


POSTGRESQL = pytest.param(postgresql, marks=needs("PostgreSQL"))
MARIADB = pytest.param(mariadb, marks=needs("MariaDB"))
EACH = [sqlite, POSTGRESQL, MARIADB]
# For what several processes do, which takes long; `test_chaos` has all three in every run.
ONE_OF_EACH = [
    pytest.param(sqlite, marks=() if servers.refusal("PostgreSQL") else pytest.mark.every),
    POSTGRESQL,
    pytest.param(mariadb, marks=(needs("MariaDB"), pytest.mark.every)),
]


class _Router:
    """Uploads are in the other database."""

    def db_for_write(self, model: Any, **_: Any) -> str | None:
        return ALIAS if model._meta.app_label == "cf_images" else None

    db_for_read = db_for_write


@contextmanager
def use(chosen: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Keep uploads in the database ``chosen``, migrated; yield this thread's connection."""
    if chosen["ENGINE"].endswith(".mysql"):
        import pymysql

        pymysql.install_as_MySQLdb()
    configured = connections.configure_settings({DEFAULT_DB_ALIAS: chosen})[DEFAULT_DB_ALIAS]
    monkeypatch.setitem(connections.settings, ALIAS, configured)
    monkeypatch.setattr(router, "routers", [_Router()])
    try:
        call_command("migrate", "cf_images", database=ALIAS, verbosity=0)
        yield connections[ALIAS]
    finally:
        connections[ALIAS].close()
        del connections[ALIAS]


class _OneForAll:
    """Everything is in the other database."""

    def db_for_write(self, *_: Any, **__: Any) -> str:
        return ALIAS

    db_for_read = db_for_write


def add_models(connection: Any, monkeypatch: pytest.MonkeyPatch, *models: Any) -> None:
    """Keep rows of these models there, too, beside uploads."""
    monkeypatch.setattr(router, "routers", [_OneForAll()])
    with connection.schema_editor() as editor:
        for model in models:
            editor.create_model(model)


def end_other_connections(connection: Any) -> int:
    """End all other connections to the database, as a failover does; return their number."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            return len(cursor.fetchall())
        cursor.execute(
            "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()"
        )
        others = [found for (found,) in cursor.fetchall()]
        for other in others:
            with suppress(OperationalError):  # it has just ended
                cursor.execute(f"KILL {other:d}")
        return len(others)
