"""Databases and queues of our own on the servers of this machine, and what to say where there are none."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

POSTGRESQL, MARIADB, REDIS = 5432, 3306, 6379
_HOST = "127.0.0.1"
_REDIS_DATABASE = 9


def answers(port: int) -> bool:
    """Whether a server listens on this port of this machine."""
    try:
        with socket.create_connection((_HOST, port), timeout=2):
            return True
    except OSError:
        return False


def sqlite(folder: Path) -> dict[str, Any]:
    """``DATABASES["default"]``: a file with a write-ahead log, as the documentation advises."""
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(folder / "site.sqlite3"),
        "OPTIONS": {
            "timeout": 30,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }


@contextmanager
def postgresql() -> Iterator[dict[str, Any]]:
    """``DATABASES["default"]``: a new database, dropped at the end; the user ``postgres`` is trusted."""
    import psycopg

    name = _name()
    with psycopg.connect(host=_HOST, user="postgres", dbname="postgres", autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")
        try:
            yield {
                "ENGINE": "django.db.backends.postgresql",
                "HOST": _HOST,
                "USER": "postgres",
                "NAME": name,
            }
        finally:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def mariadb() -> Iterator[dict[str, Any]]:
    """``DATABASES["default"]``: a new database, dropped at the end; ``root`` has no password."""
    import pymysql

    name = _name()
    with pymysql.connect(host=_HOST, user="root", autocommit=True) as server, server.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        try:
            yield {"ENGINE": "django.db.backends.mysql", "HOST": _HOST, "USER": "root", "NAME": name}
        finally:
            cursor.execute(f"DROP DATABASE {name}")


def sqlite_huey(folder: Path) -> dict[str, Any]:
    """``HUEY``: a file."""
    return {"huey_class": "huey.SqliteHuey", "name": "site", "filename": str(folder / "huey.sqlite3")}


@contextmanager
def redis_huey() -> Iterator[dict[str, Any]]:
    """``HUEY``: a queue with a name of its own, whose keys are deleted at the end."""
    import redis

    name, url = _name(), f"redis://{_HOST}:{REDIS}/{_REDIS_DATABASE}"
    try:
        yield {"huey_class": "huey.RedisHuey", "name": name, "url": url}
    finally:
        with redis.Redis.from_url(url) as server:
            if keys := list(server.scan_iter(f"*{name}*")):
                server.delete(*keys)


def _name() -> str:
    return f"cfimages{secrets.token_hex(6)}"
