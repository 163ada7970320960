"""The SQLite database: one connection and one lock, in memory or in a file.

Only one process at a time can use a file. Committed rows survive if the process is killed at any moment; a
power failure may lose the latest ones.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SCHEMA = """
CREATE TABLE IF NOT EXISTS image (
    serial INTEGER PRIMARY KEY AUTOINCREMENT,
    image_id TEXT NOT NULL UNIQUE,
    custom INTEGER NOT NULL,
    filename TEXT,
    uploaded REAL NOT NULL,
    signed INTEGER NOT NULL,
    metadata TEXT NOT NULL,
    creator TEXT,
    body TEXT,
    content_type TEXT,
    size INTEGER,
    digest TEXT,
    expires REAL
);
CREATE INDEX IF NOT EXISTS image_uploaded ON image (uploaded, serial);
CREATE TABLE IF NOT EXISTS variant (name TEXT PRIMARY KEY, options TEXT NOT NULL, public INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS signing_key (
    serial INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, value TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS batch_token (token TEXT PRIMARY KEY, expires REAL NOT NULL);
CREATE TABLE IF NOT EXISTS setting (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
TABLES = ("variant", "signing_key", "batch_token", "setting")


class AlreadyExistsError(Exception):
    """The ID or name already exists."""


class Database:
    """Statements and transactions; thread-safe."""

    def __init__(self, path: Path | None = None) -> None:
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(
            path or ":memory:", check_same_thread=False, timeout=1, isolation_level=None
        )
        self._connection.row_factory = sqlite3.Row
        try:
            self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.executescript(SCHEMA)
        except sqlite3.OperationalError as error:
            self._connection.close()
            raise BlockingIOError("This data folder is in use by another emulator") from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit all statements inside the block, or none if it raises."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            # The connection's context manager commits or rolls back.
            with self._connection:
                yield

    def rows(self, statement: str, *values: Any) -> list[sqlite3.Row]:
        """Execute a statement and return all rows; raise :class:`AlreadyExistsError`.

        Outside of :meth:`transaction`, each statement is its own transaction.
        """
        with self._lock:
            try:
                return self._connection.execute(statement, values).fetchall()
            except sqlite3.IntegrityError as error:
                raise AlreadyExistsError from error

    def row(self, statement: str, *values: Any) -> sqlite3.Row | None:
        """Execute a statement and return its first row, if any."""
        return next(iter(self.rows(statement, *values)), None)

    def clear(self) -> None:
        """Empty all tables but the images, whose bytes are stored elsewhere."""
        for table in TABLES:
            self.rows(f"DELETE FROM {table}")  # noqa: S608 - constant names

    def close(self) -> None:
        """Close the connection and release the file."""
        with self._lock:
            self._connection.close()
