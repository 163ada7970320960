"""The state of an account: images, variants, signing keys and settings, without HTTP."""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cf_images.emulator.bodies import FileBodies, MemoryBodies
from cf_images.emulator.database import Database
from cf_images.emulator.images import Images
from cf_images.emulator.limits import BATCH_TOKEN_SECONDS, DEFAULT_BROWSER_TTL

DEFAULT_VARIANT: dict[str, Any] = {"fit": "scale-down", "metadata": "none", "width": 1366, "height": 768}


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A named variant: Cloudflare's ``options``, and whether private images need no signature with it."""

    name: str
    options: dict[str, Any]
    never_require_signed_urls: bool = False


class State:
    """The state of an account, in memory or in the folder ``data``; thread-safe.

    ``variants`` (options by name, which may include ``never_require_signed_urls``) and ``flexible_variants``
    are the initial values, which a reset restores.
    """

    def __init__(
        self,
        data: Path | None = None,
        *,
        variants: Mapping[str, Mapping[str, Any]] | None = None,
        flexible_variants: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.clock = clock
        self._initial_variants = {"public": DEFAULT_VARIANT, **(variants or {})}
        self._initial_settings = {
            "flexible_variants": flexible_variants,
            "browser_ttl": DEFAULT_BROWSER_TTL,
            "preserve_content_credentials": False,
        }
        bodies = FileBodies(data / "images") if data else MemoryBodies()
        self._database = Database(data / "state.sqlite3" if data else None)
        self.images = Images(self._database, bodies, clock=clock)
        self.images.sweep()
        if not self.settings():
            self.reset()

    def close(self) -> None:
        """Release the folder."""
        self._database.close()

    def reset(self) -> None:
        """Delete everything; restore the initial variants and settings, and create a signing key."""
        self.images.clear()
        with self._database.transaction():
            self._database.clear()
            for name, options in self._initial_variants.items():
                self._write_variant(_initial_variant(name, options))
            for name, value in self._initial_settings.items():
                self._database.rows("INSERT INTO setting VALUES (?, ?)", name, json.dumps(value))
            self._write_key("default")

    def variants(self) -> dict[str, Variant]:
        """Return all named variants, oldest first."""
        rows = self._database.rows("SELECT * FROM variant ORDER BY rowid")
        return {row["name"]: _variant(row) for row in rows}

    def variant(self, name: str) -> Variant | None:
        """Return a named variant, if it exists."""
        row = self._database.row("SELECT * FROM variant WHERE name = ?", name)
        return _variant(row) if row else None

    def add_variant(self, variant: Variant, *, limit: int) -> bool:
        """Add a variant; return ``False`` if there are ``limit`` already, raise ``AlreadyExistsError``."""
        with self._database.transaction():
            if len(self.variants()) >= limit:
                return False
            self._write_variant(variant)
            return True

    def _write_variant(self, variant: Variant) -> None:
        self._database.rows(
            "INSERT INTO variant VALUES (?, ?, ?)",
            *(variant.name, json.dumps(variant.options), variant.never_require_signed_urls),
        )

    def update_variant(self, variant: Variant) -> None:
        """Replace the options of a variant."""
        self._database.rows(
            "UPDATE variant SET options = ?, public = ? WHERE name = ?",
            *(json.dumps(variant.options), variant.never_require_signed_urls, variant.name),
        )

    def delete_variant(self, name: str) -> None:
        """Delete a variant."""
        self._database.rows("DELETE FROM variant WHERE name = ?", name)

    def signing_keys(self) -> dict[str, str]:
        """Return the values of the signing keys by name, oldest first."""
        rows = self._database.rows("SELECT * FROM signing_key ORDER BY serial")
        return {row["name"]: row["value"] for row in rows}

    def put_key(self, name: str, *, limit: int) -> bool:
        """Create a signing key or give it a new value; return ``False`` if there are ``limit`` others."""
        with self._database.transaction():
            keys = self.signing_keys()
            if name not in keys and len(keys) >= limit:
                return False
            self._write_key(name)
            return True

    def _write_key(self, name: str) -> None:
        self._database.rows(
            "INSERT INTO signing_key (name, value) VALUES (?, ?)"
            " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            *(name, secrets.token_urlsafe(32)),
        )

    def delete_key(self, name: str) -> None:
        """Delete a signing key; after the last one, create a new one named ``default``."""
        with self._database.transaction():
            self._database.rows("DELETE FROM signing_key WHERE name = ?", name)
            if not self.signing_keys():
                self._write_key("default")

    def create_batch_token(self) -> tuple[str, float]:
        """Create a token for the batch host; return it and its expiry in seconds since 1970."""
        token, expires = secrets.token_urlsafe(48), self.clock() + BATCH_TOKEN_SECONDS
        self._database.rows("DELETE FROM batch_token WHERE expires <= ?", self.clock())
        self._database.rows("INSERT INTO batch_token VALUES (?, ?)", token, expires)
        return token, expires

    def is_batch_token(self, token: str) -> bool:
        """Return whether a batch token is valid; it is too random for a timing attack."""
        statement = "SELECT 1 FROM batch_token WHERE token = ? AND expires > ?"
        return self._database.row(statement, token, self.clock()) is not None

    def settings(self) -> dict[str, Any]:
        """Return ``flexible_variants``, ``browser_ttl`` (seconds) and ``preserve_content_credentials``."""
        return {row["name"]: json.loads(row["value"]) for row in self._database.rows("SELECT * FROM setting")}

    def update_settings(self, changes: Mapping[str, Any]) -> None:
        """Change some settings."""
        with self._database.transaction():
            for name, value in changes.items():
                self._database.rows("UPDATE setting SET value = ? WHERE name = ?", json.dumps(value), name)


def _initial_variant(name: str, options: Mapping[str, Any]) -> Variant:
    options = dict(options)
    public = bool(options.pop("never_require_signed_urls", False))
    return Variant(name=name, options=options, never_require_signed_urls=public)


def _variant(row: sqlite3.Row) -> Variant:
    return Variant(
        name=row["name"], options=json.loads(row["options"]), never_require_signed_urls=bool(row["public"])
    )
