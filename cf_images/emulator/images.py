"""The images and drafts of an account, as rows in :mod:`.database` and bytes in :mod:`.bodies`.

Bytes are stored before the row that names them and deleted after it, so that no row is without its bytes.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import IO, Any

from cf_images.emulator.bodies import Bodies, Spool
from cf_images.emulator.database import AlreadyExistsError, Database

ROWS_PER_QUERY = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredImage:
    """An image, or a draft without bytes; ``size`` is in bytes, ``uploaded`` in seconds since 1970."""

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
        """Whether this is a direct upload without bytes."""
        return self.body_key is None

    @property
    def uploaded_at(self) -> datetime:
        """The time of the upload, in UTC."""
        return datetime.fromtimestamp(self.uploaded, UTC)

    @property
    def body(self) -> bytes:
        """The bytes as they were uploaded."""
        with self.open() as stream:
            return stream.read()

    def open(self) -> IO[bytes]:
        """Open the bytes; raise ``FileNotFoundError`` for a draft or a deleted image."""
        if self.body_key is None:
            raise FileNotFoundError(self.image_id)
        return self.bodies.open(self.body_key)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewImage:
    """The attributes of a new image or draft."""

    image_id: str
    custom: bool
    require_signed_urls: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict)
    creator: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewBody:
    """The inspected bytes of a new image, not stored yet."""

    spool: Spool
    filename: str
    content_type: str


Kept = tuple[sqlite3.Row, bytes | None]  # of one image or draft


class Images(Mapping[str, StoredImage]):
    """A live mapping of IDs to uploaded images; drafts are found only by :meth:`find`."""

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
        """Return the number of images with the same bytes as an earlier one."""
        return self._number("SELECT COUNT(*) - COUNT(DISTINCT digest) FROM image WHERE body IS NOT NULL")

    def _number(self, statement: str) -> int:
        return int(self._database.rows(statement)[0][0])

    def find(self, image_id: str) -> StoredImage | None:
        """Return the image or the draft that is not expired, if any."""
        return self._first(
            "SELECT * FROM image WHERE image_id = ? AND (body IS NOT NULL OR expires > ?)",
            *(image_id, self._clock()),
        )

    def listed(
        self,
        *,
        ascending: bool = False,
        after: tuple[float, int] | None = None,
        creator: str | None = None,
        narrowed: Sequence[tuple[str, Any]] = (),
    ) -> Iterator[StoredImage]:
        """Iterate over uploaded images by time, after a position; ``creator=""`` means without creator.

        ``narrowed`` are conditions in SQL, each with its value.
        """
        order, compare = ("ASC", ">") if ascending else ("DESC", "<")
        conditions = "".join(f" AND {condition}" for condition, _ in narrowed)
        statement = (
            "SELECT * FROM image WHERE body IS NOT NULL AND (? IS NULL OR COALESCE(creator, '') = ?)"  # noqa: S608 - constant words
            f" AND (uploaded, serial) {compare} (?, ?){conditions}"
            f" ORDER BY uploaded {order}, serial {order} LIMIT {ROWS_PER_QUERY}"
        )
        position: tuple[float, int] | None = after or ((-1.0, 0) if ascending else (float("inf"), 0))
        while position:
            values = [value for _, value in narrowed]
            rows = self._database.rows(statement, creator, creator, *position, *values)
            yield from map(self._stored, rows)
            position = (rows[-1]["uploaded"], rows[-1]["serial"]) if rows else None

    def add_draft(self, new: NewImage, *, expires: float) -> StoredImage:
        """Reserve an ID until ``expires``, in seconds since 1970; raise :class:`AlreadyExistsError`."""
        return self._insert(new, expires=expires)

    def add(self, new: NewImage, body: NewBody) -> StoredImage:
        """Store an image; if the ID exists, discard the bytes and raise :class:`AlreadyExistsError`."""
        key = body.spool.keep()
        try:
            return self._insert(new, body=body, key=key)
        except AlreadyExistsError:
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
        """Return ``uploaded`` and the columns about the bytes."""
        now = round(self._clock(), 3)  # the API shows milliseconds
        if body is None:
            return now, None, None, None, 0, None
        return now, key, body.filename, body.content_type, body.spool.size, body.spool.digest

    def complete(self, image_id: str, body: NewBody) -> StoredImage | None:
        """Store the bytes of a draft, once; return ``None`` if there is no such draft."""
        key = body.spool.keep()
        completed = self._first(
            "UPDATE image SET uploaded = ?, body = ?, filename = ?, content_type = ?, size = ?, digest = ?,"
            " expires = NULL WHERE image_id = ? AND expires > ? RETURNING *",
            *self._body_columns(body, key),
            image_id,
            self._clock(),
        )
        if completed is None:
            self.bodies.discard(key)
        return completed

    def update(
        self,
        image_id: str,
        *,
        metadata: Mapping[str, Any] | None = None,
        require_signed_urls: bool | None = None,
        creator: str | None = None,
    ) -> StoredImage | None:
        """Change the attributes that are not ``None`` and return the new image, if it exists."""
        return self._first(
            "UPDATE image SET metadata = COALESCE(?, metadata), signed = COALESCE(?, signed),"
            " creator = COALESCE(?, creator)"
            " WHERE image_id = ? AND (body IS NOT NULL OR expires > ?) RETURNING *",
            None if metadata is None else json.dumps(metadata),
            require_signed_urls,
            creator,
            image_id,
            self._clock(),
        )

    def delete(self, image_id: str) -> StoredImage | None:
        """Delete the image or draft and return it, if there is one."""
        image = self._first(
            "DELETE FROM image WHERE image_id = ? AND (body IS NOT NULL OR expires > ?) RETURNING *",
            image_id,
            self._clock(),
        )
        if image and image.body_key:
            self.bodies.discard(image.body_key)
        return image

    def clear(self) -> None:
        """Delete all images and drafts; files of running uploads stay."""
        for row in self._database.rows("DELETE FROM image RETURNING body"):
            if row["body"]:
                self.bodies.discard(row["body"])

    def snapshot(self) -> list[Kept]:
        """Return all images and drafts with their bytes, for :meth:`restore`."""
        rows = self._database.rows("SELECT * FROM image")
        return [(row, self._stored(row).body if row["body"] else None) for row in rows]

    def restore(self, snapshot: list[Kept]) -> None:
        """Undo what has happened to images and drafts since a :meth:`snapshot`."""
        before = {tuple(row): (row, body) for row, body in snapshot}
        for row in self._database.rows("SELECT * FROM image"):
            if before.pop(tuple(row), None) is None:
                self._database.rows("DELETE FROM image WHERE serial = ?", row["serial"])
                if row["body"]:
                    self.bodies.discard(row["body"])
        for row, body in before.values():
            values = dict(row) | {"body": None if body is None else self._kept(body)}
            marks = ", ".join("?" * len(values))
            self._database.rows(f"INSERT INTO image VALUES ({marks})", *values.values())  # noqa: S608 - marks

    def _kept(self, body: bytes) -> str:
        with self.bodies.incoming() as stream:
            stream.write(body)
            return self.bodies.keep(stream)

    def sweep(self) -> None:
        """Delete the bytes without a row that a killed process left; call this only at the start."""
        rows = self._database.rows("SELECT body FROM image WHERE body IS NOT NULL")
        self.bodies.sweep({row["body"] for row in rows})

    def _first(self, statement: str, *values: Any) -> StoredImage | None:
        row = self._database.row(statement, *values)
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
