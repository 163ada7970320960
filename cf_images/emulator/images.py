"""The images and drafts of an account. Rows lie in :mod:`.database`, bytes in :mod:`.bodies`.

Bytes come before the row that names them and go after it, so that no row is ever without its bytes.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import IO, Any

from cf_images.emulator.bodies import Bodies, Spool
from cf_images.emulator.database import Database, TakenError

ROWS_AT_ONCE = 1_000


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
    size: int
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
    """What is known of an image before its bytes."""

    image_id: str
    custom: bool
    require_signed_urls: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict)
    creator: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewBody:
    """The bytes of an image, inspected and not yet kept."""

    spool: Spool
    filename: str
    content_type: str


class Images(Mapping[str, StoredImage]):
    """Images by ID, as they are now; as a mapping they are the uploaded ones, without the drafts."""

    def __init__(self, database: Database, bodies: Bodies, *, clock: Callable[[], float]) -> None:
        self._database = database
        self.bodies = bodies
        self._clock = clock

    def __getitem__(self, image_id: str) -> StoredImage:
        image = self.find(image_id)
        if image is None or image.draft:
            raise KeyError(image_id)
        return image

    def __iter__(self) -> Iterator[str]:
        return (image.image_id for image in self.listed(ascending=True))

    def __len__(self) -> int:
        return self._number("SELECT COUNT(*) FROM image WHERE body IS NOT NULL")

    def duplicates(self) -> int:
        """How many images have the bytes of an earlier one."""
        return self._number("SELECT COUNT(*) - COUNT(DISTINCT digest) FROM image WHERE body IS NOT NULL")

    def _number(self, statement: str) -> int:
        return int(self._database.rows(statement)[0][0])

    def find(self, image_id: str) -> StoredImage | None:
        """The image or the draft; a draft whose time is over is none."""
        return self._image(
            self._database.row(
                "SELECT * FROM image WHERE image_id = ? AND (body IS NOT NULL OR expires > ?)",
                *(image_id, self._clock()),
            )
        )

    def listed(
        self, *, ascending: bool = False, after: tuple[float, int] | None = None, creator: str | None = None
    ) -> Iterator[StoredImage]:
        """Uploaded images by time, beyond the position ``after``; ``creator=""`` are those without one."""
        order, compare = ("ASC", ">") if ascending else ("DESC", "<")
        statement = (
            "SELECT * FROM image WHERE body IS NOT NULL AND (? IS NULL OR COALESCE(creator, '') = ?)"  # noqa: S608 - our own words
            f" AND (uploaded, serial) {compare} (?, ?)"
            f" ORDER BY uploaded {order}, serial {order} LIMIT {ROWS_AT_ONCE}"
        )
        position: tuple[float, int] | None = after or ((-1.0, 0) if ascending else (float("inf"), 0))
        while position:
            found = self._database.rows(statement, creator, creator, *position)
            yield from map(self._stored, found)
            position = (found[-1]["uploaded"], found[-1]["serial"]) if found else None

    def add_draft(self, new: NewImage, *, expires: float) -> StoredImage:
        """Reserve an ID until ``expires``; raises :class:`TakenError`."""
        return self._insert(new, expires=expires)

    def add(self, new: NewImage, body: NewBody) -> StoredImage:
        """Store an image; raises :class:`TakenError`, and then the bytes are not kept."""
        key = body.spool.keep()
        try:
            return self._insert(new, body=body, key=key)
        except TakenError:
            self.bodies.discard(key)
            raise

    def _insert(
        self,
        new: NewImage,
        *,
        expires: float | None = None,
        body: NewBody | None = None,
        key: str | None = None,
    ) -> StoredImage:
        self._database.rows(
            "DELETE FROM image WHERE image_id = ? AND body IS NULL AND expires <= ?",
            new.image_id,
            self._clock(),
        )
        inserted = self._database.rows(
            "INSERT INTO image (image_id, custom, signed, metadata, creator, expires, uploaded, body,"
            " filename, content_type, size, digest) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING *",
            new.image_id,
            new.custom,
            new.require_signed_urls,
            json.dumps(new.metadata),
            new.creator,
            expires,
            *self._body_columns(body, key),
        )
        return self._stored(inserted[0])

    def _body_columns(self, body: NewBody | None, key: str | None) -> tuple[Any, ...]:
        """When it came (in whole milliseconds, as the API shows it), where the bytes are, what they are."""
        now = round(self._clock(), 3)
        if body is None:
            return now, None, None, None, 0, None
        return now, key, body.filename, body.content_type, body.spool.size, body.spool.digest

    def complete(self, image_id: str, body: NewBody) -> StoredImage | None:
        """Give a draft its bytes, once: ``None`` when there is no such draft (any more)."""
        key = body.spool.keep()
        completed = self._database.row(
            "UPDATE image SET uploaded = ?, body = ?, filename = ?, content_type = ?, size = ?, digest = ?,"
            " expires = NULL WHERE image_id = ? AND expires > ? RETURNING *",
            *self._body_columns(body, key),
            image_id,
            self._clock(),
        )
        if completed is None:
            self.bodies.discard(key)
        return self._image(completed)

    def update(
        self,
        image_id: str,
        *,
        metadata: Mapping[str, Any] | None = None,
        require_signed_urls: bool | None = None,
        creator: str | None = None,
    ) -> StoredImage | None:
        """Change what is not ``None``; the image as it is then."""
        return self._image(
            self._database.row(
                "UPDATE image SET metadata = COALESCE(?, metadata), signed = COALESCE(?, signed),"
                " creator = COALESCE(?, creator)"
                " WHERE image_id = ? AND (body IS NOT NULL OR expires > ?) RETURNING *",
                None if metadata is None else json.dumps(metadata),
                require_signed_urls,
                creator,
                image_id,
                self._clock(),
            )
        )

    def delete(self, image_id: str) -> StoredImage | None:
        """The image or draft that was deleted, if there was one."""
        image = self._image(
            self._database.row(
                "DELETE FROM image WHERE image_id = ? AND (body IS NOT NULL OR expires > ?) RETURNING *",
                image_id,
                self._clock(),
            )
        )
        if image and image.body_key:
            self.bodies.discard(image.body_key)
        return image

    def clear(self) -> None:
        """Delete all images and drafts, and nothing of an upload that is on its way."""
        for row in self._database.rows("DELETE FROM image RETURNING body"):
            if row["body"]:
                self.bodies.discard(row["body"])

    def sweep(self) -> None:
        """Take away the bytes that no row names, as a killed process leaves them; for the start only."""
        rows = self._database.rows("SELECT body FROM image WHERE body IS NOT NULL")
        self.bodies.sweep({row["body"] for row in rows})

    def _image(self, row: sqlite3.Row | None) -> StoredImage | None:
        return self._stored(row) if row else None

    def _stored(self, row: sqlite3.Row) -> StoredImage:
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
            bodies=self.bodies,
        )
