"""A file of a caller, read from its start and left as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import SpooledTemporaryFile
from typing import IO, Any, cast

from cf_images.exceptions import ImageRejectedError
from cf_images.images import MAX_BYTES

_MEMORY_BYTES = 1024 * 1024  # what a spooled file keeps before it goes to disk
_CHUNK_BYTES = 64 * 1024
_MAX_STREAM_BYTES = 10 * MAX_BYTES  # more than any photo that fit_limits reduces


@contextmanager
def from_start(content: Any) -> Iterator[IO[bytes]]:
    """Give ``content``, a file, at its first byte and able to seek; afterwards it is open and where it
    was.
    """
    if content.closed:
        raise ImageRejectedError(f"The file {_name(content)} is closed: open it before it is saved.")
    if not content.seekable():
        with SpooledTemporaryFile(max_size=_MEMORY_BYTES) as copy:
            _copy(content, copy)
            yield copy
        return
    position = content.tell()
    content.seek(0)
    try:
        yield cast("IO[bytes]", content)
    finally:
        content.seek(position)


def _copy(stream: Any, target: IO[bytes]) -> None:
    total = 0
    while chunk := stream.read(_CHUNK_BYTES):
        total += len(chunk)
        if total > _MAX_STREAM_BYTES:
            raise ImageRejectedError(
                f"The stream {_name(stream)} has more than {_MAX_STREAM_BYTES // 1024**2} MB; "
                f"the limit is {MAX_BYTES // 1024**2} MB."
            )
        target.write(chunk)
    target.seek(0)


def _name(content: Any) -> str:
    return repr(str(getattr(content, "name", None) or "without a name")[:80])
