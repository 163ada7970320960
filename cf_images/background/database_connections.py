"""The database connections of a thread that works for long."""

from __future__ import annotations

from django.db import connections


def close_broken() -> None:
    """Close what the database has ended.

    Unlike Django after a request, keep the others whatever ``CONN_MAX_AGE`` says: a new connection for each
    batch of rows would cost more than the batch.
    """
    for connection in connections.all(initialized_only=True):
        # Without a connection, since it was refused, is_usable() fails on MariaDB.
        if (
            connection.connection is not None
            and connection.errors_occurred
            and not connection.in_atomic_block
        ):
            if connection.is_usable():
                connection.errors_occurred = False
            else:
                connection.close()
