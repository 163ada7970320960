"""The bytes of pending uploads in the database, written and read in chunks, never as a whole in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from contextlib import ExitStack
from tempfile import SpooledTemporaryFile
from typing import IO

from django.db.models import OuterRef, QuerySet, Subquery

from cf_images.models import Chunk, Rendition, Upload

CHUNK_BYTES = 512 * 1024
_FIRST = "first_chunk"
_MEMORY_BYTES = 2 * CHUNK_BYTES  # a longer copy goes to disk


class BytesGoneError(Exception):
    """The bytes were deleted while they were read: the upload is stored or deleted by now."""


def write(upload: Upload, file: IO[bytes], *, using: str) -> str:
    """Keep ``file``, from its start, beside the row; return its SHA-256 in hex."""
    digest = hashlib.sha256()
    file.seek(0)
    position = 0
    while data := file.read(CHUNK_BYTES):
        digest.update(data)
        _chunks(using).create(upload=upload, position=position, data=data)
        position += 1
    return digest.hexdigest()


def with_first(uploads: QuerySet[Upload]) -> QuerySet[Upload]:
    """Let rows be read together with their first chunk, which ``copy`` then takes from them."""
    first = Chunk.objects.filter(upload=OuterRef("pk"), position=0).values("data")
    return uploads.annotate(**{_FIRST: Subquery(first[:1])})


def copy(upload: Upload, *, using: str) -> IO[bytes]:
    """Return the bytes as a file of its own at its start, which is complete whatever happens to the row.

    Raise ``BytesGoneError`` when a chunk is missing.
    """
    first = upload.__dict__.pop(_FIRST, None)  # the row is kept without it
    with ExitStack() as stack:
        file = stack.enter_context(SpooledTemporaryFile(max_size=_MEMORY_BYTES))
        for position in range(-(-(upload.size or 0) // CHUNK_BYTES)):
            chunk = _chunks(using).filter(upload=upload, position=position).values_list("data", flat=True)
            data = first if position == 0 and first is not None else chunk.first()
            if data is None:
                raise BytesGoneError(upload.name)
            file.write(data)
        file.seek(0)
        stack.pop_all()  # complete: the caller closes it
        return file


def delete(upload_ids: Collection[int], *, using: str) -> None:
    """Delete the bytes of rows, and what was rendered from them."""
    _chunks(using).filter(upload__in=upload_ids).delete()
    Rendition.objects.using(using).filter(upload__in=upload_ids).delete()


def _chunks(using: str) -> QuerySet[Chunk]:
    return Chunk.objects.using(using)
