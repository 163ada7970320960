"""The bytes that wait in the database, written and read piece by piece, never the whole in memory."""

from __future__ import annotations

import hashlib
from tempfile import SpooledTemporaryFile
from typing import IO

from django.db.models import QuerySet

from cf_images.background.database import database
from cf_images.models import Piece, Upload

PIECE_BYTES = 512 * 1024
_MEMORY_BYTES = 2 * PIECE_BYTES  # a copy beyond this goes to disk


class BytesGoneError(Exception):
    """The bytes were given up while they were read: the upload is stored or discarded by now."""


def write(upload: Upload, file: IO[bytes]) -> str:
    """Keep ``file``, from its start, beside the row; returns its SHA-256 in hex."""
    digest = hashlib.sha256()
    file.seek(0)
    position = 0
    while data := file.read(PIECE_BYTES):
        digest.update(data)
        _pieces().create(upload=upload, position=position, data=data)
        position += 1
    return digest.hexdigest()


def copy(upload: Upload) -> IO[bytes]:
    """The bytes as a file of their own at its start; whatever happens to the row, it can be read to its end.

    Raises ``BytesGoneError`` when they are not all there.
    """
    file = SpooledTemporaryFile(max_size=_MEMORY_BYTES)  # noqa: SIM115  # the caller closes it
    for position in range(-(-(upload.size or 0) // PIECE_BYTES)):
        data = _data(upload, position)
        if data is None:
            file.close()
            raise BytesGoneError(upload.name)
        file.write(data)
    file.seek(0)
    return file


def forget(upload_id: int) -> None:
    """Delete the bytes of a row."""
    _pieces().filter(upload=upload_id).delete()


def _data(upload: Upload, position: int) -> bytes | memoryview | None:
    return _pieces().filter(upload=upload, position=position).values_list("data", flat=True).first()


def _pieces() -> QuerySet[Piece]:
    return Piece.objects.using(database())
