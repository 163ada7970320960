"""What an account holds: images, variants, signing keys, settings; nothing of HTTP."""

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
    """A named variant: Cloudflare's ``options`` as given, and whether it shows private images to all."""

    name: str
    options: dict[str, Any]
    never_require_signed_urls: bool = False


class State:
    """Everything an account holds, in memory or in the folder ``data``; safe for threads.

    ``variants`` (options by name, ``never_require_signed_urls`` among them) and ``flexible_variants`` are for
    the first day and after a reset.
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
        self._first_variants = {"public": DEFAULT_VARIANT, **(variants or {})}
        self._first_settings = {
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
        """Let go of the folder."""
        self._database.close()

    def reset(self) -> None:
        """Forget everything; variants, settings and keys are as on the first day."""
        self.images.clear()
        with self._database.transaction():
            self._database.clear()
            for name, options in self._first_variants.items():
                self._write_variant(_first_variant(name, options))
            for name, value in self._first_settings.items():
                self._database.rows("INSERT INTO setting VALUES (?, ?)", name, json.dumps(value))
            self._write_key("default")

    def variants(self) -> dict[str, Variant]:
        """All named variants."""
        rows = self._database.rows("SELECT * FROM variant ORDER BY rowid")
        return {row["name"]: _variant(row) for row in rows}

    def variant(self, name: str) -> Variant | None:
        """One of them."""
        row = self._database.row("SELECT * FROM variant WHERE name = ?", name)
        return _variant(row) if row else None

    def add_variant(self, variant: Variant, *, limit: int) -> bool:
        """``False`` when there are ``limit`` already; raises ``TakenError``."""
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
        """Replace its options."""
        self._database.rows(
            "UPDATE variant SET options = ?, public = ? WHERE name = ?",
            *(json.dumps(variant.options), variant.never_require_signed_urls, variant.name),
        )

    def delete_variant(self, name: str) -> None:
        """Forget it."""
        self._database.rows("DELETE FROM variant WHERE name = ?", name)

    def signing_keys(self) -> dict[str, str]:
        """Values by name, oldest first."""
        rows = self._database.rows("SELECT * FROM signing_key ORDER BY serial")
        return {row["name"]: row["value"] for row in rows}

    def put_key(self, name: str, *, limit: int) -> bool:
        """Create a key or give it a new value; ``False`` when there are ``limit`` others."""
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
        """Forget it; the last one makes room for a new ``default``."""
        with self._database.transaction():
            self._database.rows("DELETE FROM signing_key WHERE name = ?", name)
            if not self.signing_keys():
                self._write_key("default")

    def new_batch_token(self) -> tuple[str, float]:
        """A token for the batch host, and when it ends."""
        token, expires = secrets.token_urlsafe(48), self.clock() + BATCH_TOKEN_SECONDS
        self._database.rows("DELETE FROM batch_token WHERE expires <= ?", self.clock())
        self._database.rows("INSERT INTO batch_token VALUES (?, ?)", token, expires)
        return token, expires

    def knows_batch_token(self, token: str) -> bool:
        """Whether it was given out and has not ended; random enough that looking it up leaks nothing."""
        return bool(
            self._database.rows(
                "SELECT 1 FROM batch_token WHERE token = ? AND expires > ?", token, self.clock()
            )
        )

    def settings(self) -> dict[str, Any]:
        """Of the account: ``flexible_variants``, ``browser_ttl``, ``preserve_content_credentials``."""
        return {row["name"]: json.loads(row["value"]) for row in self._database.rows("SELECT * FROM setting")}

    def update_settings(self, changes: Mapping[str, Any]) -> None:
        """Change some of them."""
        with self._database.transaction():
            for name, value in changes.items():
                self._database.rows("UPDATE setting SET value = ? WHERE name = ?", json.dumps(value), name)


def _first_variant(name: str, options: Mapping[str, Any]) -> Variant:
    options = dict(options)
    public = bool(options.pop("never_require_signed_urls", False))
    return Variant(name=name, options=options, never_require_signed_urls=public)


def _variant(row: sqlite3.Row) -> Variant:
    return Variant(
        name=row["name"], options=json.loads(row["options"]), never_require_signed_urls=bool(row["public"])
    )
