"""A file of a caller, read from its start and left as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import SpooledTemporaryFile
from typing import IO, Any, cast

from cf_images.exceptions import ImageRejectedError
from cf_images.images import MAX_BYTES
from cf_images.sentences import Sentence

_MEMORY_BYTES = 1024 * 1024  # what a spooled file keeps before it goes to disk
_CHUNK_BYTES = 64 * 1024
_MAX_STREAM_BYTES = 10 * MAX_BYTES  # more than any photo that fit_limits reduces


@contextmanager
def from_start(content: Any) -> Iterator[IO[bytes]]:
    """Give ``content``, a file, at its first byte and able to seek; afterwards it is open and where it
    was.

    What cannot seek is copied, and so is a Django ``File`` with a ``chunks()`` of its own: those are what
    Django's storages save.
    """
    if content.closed:
        raise ImageRejectedError(f"The file {_name(content)} is closed: open it before it is saved.")
    position = content.tell() if content.seekable() else None
    try:
        if position is None or _has_own_chunks(content):
            with SpooledTemporaryFile(max_size=_MEMORY_BYTES) as copy:
                _copy(content, copy)
                yield copy
        else:
            content.seek(0)
            yield cast("IO[bytes]", content)
    finally:
        if position is not None and not content.closed:
            content.seek(position)


def _has_own_chunks(content: Any) -> bool:
    """Return whether a subclass or an instance of Django's ``File`` overrides ``chunks()``."""
    chunks = getattr(content, "chunks", None)
    return chunks is not None and not str(chunks.__module__).startswith("django.core.files.")


def _chunks(content: Any) -> Iterator[Any]:
    if _has_own_chunks(content):
        yield from content.chunks()
        return
    while chunk := content.read(_CHUNK_BYTES):
        yield chunk


def _copy(content: Any, target: IO[bytes]) -> None:
    total = 0
    for chunk in _chunks(content):
        if isinstance(chunk, str):
            raise ImageRejectedError(f"The file {_name(content)} gives text; open it in binary mode.")
        total += len(chunk)
        if total > _MAX_STREAM_BYTES:
            sizes = {"size": _MAX_STREAM_BYTES // 1024**2, "limit": MAX_BYTES // 1024**2}
            raise ImageRejectedError.saying(
                Sentence(
                    "The stream %(name)s has more than %(size)s MB; the limit is %(limit)s MB.",
                    {"name": _name(content), **sizes},
                )
            )
        target.write(chunk)
    target.seek(0)


def _name(content: Any) -> str:
    return repr(str(getattr(content, "name", None) or "without a name")[:80])
