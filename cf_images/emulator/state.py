"""What an account holds: images and drafts, variants, signing keys, settings; SQLite, and nothing of HTTP.

One connection behind one lock, in memory or in ``DATA/state.sqlite3``. Bytes lie in :mod:`.bodies`. A
data folder belongs to one process at a time. What was answered with success survives the process being
killed; a power cut may take the last moments.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from cf_images.emulator.bodies import Bodies, FileBodies, MemoryBodies, Spool
from cf_images.emulator.limits import BATCH_TOKEN_SECONDS, DEFAULT_BROWSER_TTL

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
ROWS_AT_ONCE = 1_000
DEFAULT_VARIANT: dict[str, Any] = {"fit": "scale-down", "metadata": "none", "width": 1366, "height": 768}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredImage:
    """An image, or a draft that has no bytes yet; sizes in bytes, moments in seconds since 1970."""

    serial: int
    image_id: str
    custom: bool
    filename: str | None
    uploaded: float
    require_signed_urls: bool
    metadata: dict[str, Any]
    creator: str | None
    body_key: str | None
    content_type: str | None
    size: int | None
    digest: str | None
    expires: float | None
    bodies: Bodies = field(repr=False, compare=False)

    @property
    def draft(self) -> bool:
        """Whether this is a direct upload without its bytes."""
        return self.body_key is None

    @property
    def uploaded_at(self) -> datetime:
        """When it came, in UTC."""
        return datetime.fromtimestamp(self.uploaded, UTC)

    @property
    def body(self) -> bytes:
        """The bytes as they were uploaded."""
        with self.open() as stream:
            return stream.read()

    def open(self) -> IO[bytes]:
        """The bytes as a stream; ``FileNotFoundError`` for a draft, or when it was deleted meanwhile."""
        if self.body_key is None:
            raise FileNotFoundError(self.image_id)
        return self.bodies.open(self.body_key)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewImage:
    """What is known of an image when it, or its draft, comes into being."""

    image_id: str
    custom: bool
    require_signed_urls: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict)
    creator: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A named variant: Cloudflare's ``options`` as given, and whether it shows private images to all."""

    name: str
    options: dict[str, Any]
    never_require_signed_urls: bool = False


class TakenError(Exception):
    """The ID or name exists already."""


class State:
    """Everything an account holds; safe for threads."""

    def __init__(
        self,
        data: Path | None = None,
        *,
        variants: Mapping[str, Mapping[str, Any]] | None = None,
        flexible_variants: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.bodies: Bodies = FileBodies(data / "images") if data else MemoryBodies()
        self.clock = clock
        self._first_variants = {"public": DEFAULT_VARIANT, **(variants or {})}
        self._first_settings = {
            "flexible_variants": flexible_variants,
            "browser_ttl": DEFAULT_BROWSER_TTL,
            "preserve_content_credentials": False,
        }
        self._lock = threading.RLock()
        path = data / "state.sqlite3" if data else ":memory:"
        self._database = sqlite3.connect(path, check_same_thread=False, timeout=1)
        self._database.row_factory = sqlite3.Row
        self._prepare()

    def _prepare(self) -> None:
        try:
            self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")
            self._database.executescript(SCHEMA)
        except sqlite3.OperationalError as error:
            self._database.close()
            raise BlockingIOError("This data folder is in use by another emulator") from error
        if not self.settings():
            self._fill()
        self.bodies.sweep({row["body"] for row in self._rows("SELECT body FROM image")})

    def _fill(self) -> None:
        with self._lock, self._database as database:
            for name, options in self._first_variants.items():
                self._write_variant(Variant(name=name, options=dict(options)))
            for name, value in self._first_settings.items():
                database.execute("INSERT INTO setting VALUES (?, ?)", (name, json.dumps(value)))
            self._write_key("default")

    def _rows(self, statement: str, *values: Any) -> list[sqlite3.Row]:
        with self._lock:
            return self._database.execute(statement, values).fetchall()

    def _row(self, statement: str, *values: Any) -> sqlite3.Row | None:
        with self._lock:
            row: sqlite3.Row | None = self._database.execute(statement, values).fetchone()
            return row

    def _change(self, statement: str, *values: Any) -> int:
        """How many rows it changed; raises :class:`TakenError` where something has the name already."""
        with self._lock, self._database as database:
            try:
                return database.execute(statement, values).rowcount
            except sqlite3.IntegrityError as error:
                raise TakenError from error

    def _now(self) -> float:
        """Whole milliseconds: what the API shows is what lists are ordered by."""
        return round(self.clock(), 3)

    def close(self) -> None:
        """Close the database; the folder may be opened again."""
        with self._lock:
            self._database.close()

    def reset(self) -> None:
        """Forget everything; variants, settings and keys are as on the first day."""
        with self._lock, self._database as database:
            for table in ("image", "variant", "signing_key", "batch_token", "setting"):
                database.execute(f"DELETE FROM {table}")  # noqa: S608 - our own words
            self._fill()
        self.bodies.sweep(())

    # Images

    def _image(self, row: sqlite3.Row) -> StoredImage:
        return StoredImage(
            serial=row["serial"],
            image_id=row["image_id"],
            custom=bool(row["custom"]),
            filename=row["filename"],
            uploaded=row["uploaded"],
            require_signed_urls=bool(row["signed"]),
            metadata=json.loads(row["metadata"]),
            creator=row["creator"],
            body_key=row["body"],
            content_type=row["content_type"],
            size=row["size"],
            digest=row["digest"],
            expires=row["expires"],
            bodies=self.bodies,
        )

    def image(self, image_id: str) -> StoredImage | None:
        """The image or the draft; drafts whose time is over are gone."""
        self._forget_expired(image_id)
        row = self._row("SELECT * FROM image WHERE image_id = ?", image_id)
        return self._image(row) if row else None

    def _forget_expired(self, image_id: str) -> None:
        self._change(
            "DELETE FROM image WHERE image_id = ? AND body IS NULL AND expires <= ?", image_id, self.clock()
        )

    def images(
        self, *, ascending: bool = False, after: tuple[float, int] | None = None, creator: str | None = None
    ) -> Iterator[StoredImage]:
        """Uploaded images by time, beyond the position ``after``; ``creator=""`` are those without one."""
        order, compare = ("ASC", ">") if ascending else ("DESC", "<")
        position: tuple[float, int] | None = after or ((-1.0, 0) if ascending else (float("inf"), 0))
        while position:
            found = self._rows(
                "SELECT * FROM image WHERE body IS NOT NULL AND (? IS NULL OR COALESCE(creator, '') = ?)"  # noqa: S608 - our own words
                f" AND (uploaded, serial) {compare} (?, ?)"
                f" ORDER BY uploaded {order}, serial {order} LIMIT {ROWS_AT_ONCE}",
                *(creator, creator, *position),
            )
            yield from map(self._image, found)
            position = (found[-1]["uploaded"], found[-1]["serial"]) if found else None

    def count(self) -> int:
        """How many images are stored; drafts are none."""
        row = self._row("SELECT COUNT(*) FROM image WHERE body IS NOT NULL")
        assert row is not None  # noqa: S101 - COUNT always answers
        return int(row[0])

    def duplicates(self) -> int:
        """How many images have the bytes of an earlier one."""
        row = self._row("SELECT COUNT(*) - COUNT(DISTINCT digest) FROM image WHERE body IS NOT NULL")
        assert row is not None  # noqa: S101 - COUNT always answers
        return int(row[0])

    def add_draft(self, new: NewImage, *, expires: float) -> None:
        """Reserve an ID until ``expires``; raises :class:`TakenError`."""
        self._forget_expired(new.image_id)
        self._insert(new, expires=expires)

    def add_image(self, new: NewImage, body: Spool, *, filename: str | None, content_type: str) -> None:
        """Store an image; raises :class:`TakenError`, and then the bytes are not kept."""
        self._forget_expired(new.image_id)
        key = body.keep()
        try:
            self._insert(new, body=(key, content_type, body.size, body.digest), filename=filename)
        except TakenError:
            self.bodies.discard(key)
            raise

    def _insert(
        self,
        new: NewImage,
        *,
        expires: float | None = None,
        body: tuple[str, str, int, str] | None = None,
        filename: str | None = None,
    ) -> None:
        self._change(
            "INSERT INTO image (image_id, custom, signed, metadata, creator, uploaded, expires, filename,"
            " body, content_type, size, digest) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            new.image_id,
            new.custom,
            new.require_signed_urls,
            json.dumps(new.metadata),
            new.creator,
            self._now(),
            expires,
            filename,
            *(body or (None, None, None, None)),
        )

    def complete_draft(self, image_id: str, body: Spool, *, filename: str | None, content_type: str) -> bool:
        """Give a draft its bytes, once: ``False`` when there is no such draft (any more)."""
        key = body.keep()
        changed = self._change(
            "UPDATE image SET body = ?, content_type = ?, size = ?, digest = ?, filename = ?, uploaded = ?,"
            " expires = NULL WHERE image_id = ? AND body IS NULL AND expires > ?",
            *(key, content_type, body.size, body.digest, filename, self._now(), image_id, self.clock()),
        )
        if not changed:
            self.bodies.discard(key)
        return bool(changed)

    def update_image(
        self,
        image_id: str,
        *,
        metadata: Mapping[str, Any] | None = None,
        require_signed_urls: bool | None = None,
        creator: str | None = None,
    ) -> bool:
        """Change what is not ``None``; ``False`` when there is no such image."""
        return bool(
            self._change(
                "UPDATE image SET metadata = COALESCE(?, metadata), signed = COALESCE(?, signed),"
                " creator = COALESCE(?, creator) WHERE image_id = ?",
                None if metadata is None else json.dumps(metadata),
                require_signed_urls,
                creator,
                image_id,
            )
        )

    def delete_image(self, image_id: str) -> StoredImage | None:
        """The image that was deleted, row first; ``None`` when there was none."""
        with self._lock:
            image = self.image(image_id)
            self._change("DELETE FROM image WHERE image_id = ?", image_id)
        if image and image.body_key:
            self.bodies.discard(image.body_key)
        return image

    # Variants

    def variants(self) -> dict[str, Variant]:
        """All named variants."""
        return {row["name"]: _variant(row) for row in self._rows("SELECT * FROM variant ORDER BY rowid")}

    def variant(self, name: str) -> Variant | None:
        """One of them."""
        row = self._row("SELECT * FROM variant WHERE name = ?", name)
        return _variant(row) if row else None

    def add_variant(self, variant: Variant, *, limit: int) -> bool:
        """``False`` when there are ``limit`` already; raises :class:`TakenError`."""
        with self._lock:
            if len(self.variants()) >= limit and not self.variant(variant.name):
                return False
            self._write_variant(variant)
        return True

    def _write_variant(self, variant: Variant) -> None:
        self._change(
            "INSERT INTO variant VALUES (?, ?, ?)",
            *(variant.name, json.dumps(variant.options), variant.never_require_signed_urls),
        )

    def update_variant(self, variant: Variant) -> bool:
        """Replace its options; ``False`` when there is no such variant."""
        return bool(
            self._change(
                "UPDATE variant SET options = ?, public = ? WHERE name = ?",
                *(json.dumps(variant.options), variant.never_require_signed_urls, variant.name),
            )
        )

    def delete_variant(self, name: str) -> bool:
        """``False`` when there is no such variant."""
        return bool(self._change("DELETE FROM variant WHERE name = ?", name))

    # Signing keys

    def signing_keys(self) -> dict[str, str]:
        """Values by name, oldest first."""
        return {row["name"]: row["value"] for row in self._rows("SELECT * FROM signing_key ORDER BY serial")}

    def put_key(self, name: str, *, limit: int) -> bool:
        """Create a key or give it a new value; ``False`` when there are ``limit`` others."""
        with self._lock:
            if name not in self.signing_keys() and len(self.signing_keys()) >= limit:
                return False
            self._write_key(name)
        return True

    def _write_key(self, name: str) -> None:
        self._change(
            "INSERT INTO signing_key (name, value) VALUES (?, ?)"
            " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            *(name, secrets.token_urlsafe(32)),
        )

    def delete_key(self, name: str) -> bool:
        """``False`` when there is no such key; the last one makes room for a new ``default``."""
        with self._lock:
            deleted = bool(self._change("DELETE FROM signing_key WHERE name = ?", name))
            if not self.signing_keys():
                self._write_key("default")
        return deleted

    # Batch tokens and settings

    def new_batch_token(self) -> tuple[str, float]:
        """A token for the batch host, and when it ends."""
        token, expires = secrets.token_urlsafe(48), self.clock() + BATCH_TOKEN_SECONDS
        self._change("DELETE FROM batch_token WHERE expires <= ?", self.clock())
        self._change("INSERT INTO batch_token VALUES (?, ?)", token, expires)
        return token, expires

    def knows_batch_token(self, token: str) -> bool:
        """Whether it was given out and has not ended; random enough that looking it up leaks nothing."""
        found = self._row("SELECT 1 FROM batch_token WHERE token = ? AND expires > ?", token, self.clock())
        return found is not None

    def settings(self) -> dict[str, Any]:
        """Of the account: ``flexible_variants``, ``browser_ttl``, ``preserve_content_credentials``."""
        return {row["name"]: json.loads(row["value"]) for row in self._rows("SELECT * FROM setting")}

    def update_settings(self, changes: Mapping[str, Any]) -> None:
        """Change some of them."""
        for name, value in changes.items():
            self._change("UPDATE setting SET value = ? WHERE name = ?", json.dumps(value), name)


def _variant(row: sqlite3.Row) -> Variant:
    return Variant(
        name=row["name"], options=json.loads(row["options"]), never_require_signed_urls=bool(row["public"])
    )
