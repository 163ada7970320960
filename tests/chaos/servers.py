"""New databases and queues on the servers of this machine, and why a server cannot be used."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_HOST = "127.0.0.1"
_REDIS = f"redis://{_HOST}:6379/9"


def refusal(*names: str) -> str:
    """Return why one of ``PostgreSQL``, ``MariaDB`` and ``Redis`` cannot be used, or an empty text."""
    for name in names:
        try:
            _CONNECT[name]().close()
        except Exception as error:  # noqa: BLE001  # each driver has its own, and may not be installed
            return f"{name} cannot be used: {str(error).strip().splitlines()[0]}"
    return ""


def versions() -> dict[str, str]:
    """Return the version of each server that can be used."""
    found = {}
    for name, read in _VERSION.items():
        if not refusal(name):
            server = _CONNECT[name]()
            try:
                found[name] = str(read(server))
            finally:
                server.close()
    return found


def sqlite(folder: Path) -> dict[str, Any]:
    """Return ``DATABASES["default"]``: a file with a write-ahead log, as the documentation advises."""
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
    """Yield ``DATABASES["default"]``: a new database, dropped at the end; ``postgres`` needs no password."""
    name = _name()
    with _postgresql() as server:
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
    """Yield ``DATABASES["default"]``: a new database, dropped at the end; ``root`` needs no password."""
    name = _name()
    with _mariadb() as server, server.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        try:
            yield {"ENGINE": "django.db.backends.mysql", "HOST": _HOST, "USER": "root", "NAME": name}
        finally:
            cursor.execute(f"DROP DATABASE {name}")


def sqlite_huey(folder: Path) -> dict[str, Any]:
    """Return ``HUEY``: a file."""
    return {"huey_class": "huey.SqliteHuey", "name": "site", "filename": str(folder / "huey.sqlite3")}


@contextmanager
def redis_huey() -> Iterator[dict[str, Any]]:
    """Yield ``HUEY``: a queue with a new name, whose keys are deleted at the end."""
    name = _name()
    try:
        yield {"huey_class": "huey.RedisHuey", "name": name, "url": _REDIS}
    finally:
        with _redis() as server:
            if keys := list(server.scan_iter(f"*{name}*")):
                server.delete(*keys)


def _name() -> str:
    return f"cfimages{secrets.token_hex(6)}"


def _postgresql() -> Any:
    import psycopg

    return psycopg.connect(host=_HOST, user="postgres", dbname="postgres", autocommit=True, connect_timeout=5)


def _mariadb() -> Any:
    import pymysql

    return pymysql.connect(host=_HOST, user="root", autocommit=True, connect_timeout=5)


def _redis() -> Any:
    import redis

    server = redis.Redis.from_url(_REDIS, socket_connect_timeout=5)
    server.ping()
    return server


_CONNECT = {"PostgreSQL": _postgresql, "MariaDB": _mariadb, "Redis": _redis}
_VERSION: dict[str, Callable[[Any], object]] = {
    "PostgreSQL": lambda server: server.info.parameter_status("server_version").split()[0],
    "MariaDB": lambda server: server.get_server_info().removeprefix("5.5.5-").split("-")[0],
    "Redis": lambda server: server.info("server")["redis_version"],
}
