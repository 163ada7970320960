"""The database connections of a thread that works for long."""

from __future__ import annotations

import time
from collections.abc import Callable

from django.db import InterfaceError, OperationalError, connections

from cf_images.background.rows import database

_WRITE_SECONDS = 10.0  # much less than a lease
_FIRST_PAUSE = 0.05


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


def write_down(write: Callable[[], object]) -> None:
    """Call ``write``, and again for ten seconds while the database is locked or away.

    What became of an image is known now; unwritten, its row would wait until its lease has ended, and
    Cloudflare would be asked. Within a transaction of the caller there is one try: the database has given it
    up.
    """
    ends_at, pause = time.monotonic() + _WRITE_SECONDS, _FIRST_PAUSE
    while True:
        try:
            write()
            return
        except (OperationalError, InterfaceError):
            if connections[database()].in_atomic_block or time.monotonic() + pause > ends_at:
                raise
        time.sleep(pause)
        pause *= 2
        close_broken()
