"""Files on their way in and out of Cloudflare: the original as Django reads it, an upload as we read it."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING, Any, cast

from django.core.files.base import File
from django.db.models.fields.files import FieldFile

from cf_images.exceptions import CloudflareImagesError, ImageRejectedError
from cf_images.images import MAX_BYTES

if TYPE_CHECKING:
    from cf_images.client import Download

_MEMORY_BYTES = 1024 * 1024  # what a spooled file holds before it goes to disk
_CHUNK_BYTES = 64 * 1024
_STREAM_BYTES = 10 * MAX_BYTES  # more than any photo that fit_limits reduces


class CloudflareImagesFile(File):  # type: ignore[type-arg]  # generic for mypy only
    """The original of an image, read-only: seeks, iterates, closes, and reopens by calling ``fetch`` anew.

    ``fetch`` gives a file at its first byte or raises ``ImageNotFoundError``; see ``downloaded``.
    """

    def __init__(self, name: str, fetch: Callable[[], IO[bytes]]) -> None:
        self._fetch = fetch
        super().__init__(fetch(), name)
        self.mode = "rb"

    def open(self, mode: str | None = None) -> CloudflareImagesFile:  # type: ignore[override]
        """Begin again at the first byte, also after ``close()``."""
        if mode not in (None, "rb"):
            raise ValueError(f"Images at Cloudflare are read as bytes and never changed: mode {mode!r}.")
        if self.closed:
            self.file = self._fetch()
        self.seek(0)
        return self

    @property
    def size(self) -> int:
        """Bytes of the original; of a download from the answer's header, where it has one."""
        position = self.tell()
        size = self.seek(0, io.SEEK_END)
        self.seek(position)
        return int(size)


def downloaded(download: Download) -> IO[bytes]:
    """``download`` as a file that seeks; it is fetched only as far as it is read.

    Reading raises ``CloudflareUnavailableError`` when Cloudflare stops in the middle.
    """
    return io.BufferedReader(_Original(download), _CHUNK_BYTES)


class _Original(io.RawIOBase):
    """A download that can seek: what was read is kept, what was not is not fetched."""

    def __init__(self, download: Download) -> None:
        self._download = download
        self._chunks: Iterator[bytes] = iter(download)
        self._held: IO[bytes] = SpooledTemporaryFile(max_size=_MEMORY_BYTES)  # noqa: SIM115  # closed with us
        self._held_size = 0
        self._complete = False
        self._failure: CloudflareImagesError | None = None
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position}.get(whence)
        target = (self._size() if origin is None else origin) + offset
        if target < 0:
            raise ValueError(f"Cannot seek to {target}, before the first byte.")
        self._position = target
        return target

    def readinto(self, buffer: Any) -> int:
        self._fetch_until(self._position + len(buffer))
        self._held.seek(self._position)
        data = self._held.read(len(buffer))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def _size(self) -> int:
        if self._download.size is not None:
            return self._download.size
        self._fetch_until(None)
        return self._held_size

    def close(self) -> None:
        if not self.closed:
            self._download.close()
            self._held.close()
        super().close()

    def _fetch_until(self, end: int | None) -> None:
        """Hold the first ``end`` bytes, or all of them."""
        if self._failure:  # a second read must not take the torn end for the end of the image
            raise self._failure
        while not self._complete and (end is None or self._held_size < end):
            try:
                chunk = next(self._chunks, None)
            except CloudflareImagesError as error:
                self._failure = error
                raise
            if chunk is None:
                self._complete = True
                self._download.close()
                return
            self._held.seek(self._held_size)
            self._held.write(chunk)
            self._held_size += len(chunk)


@contextmanager
def from_start(content: File[Any] | IO[bytes]) -> Iterator[IO[bytes]]:
    """``content`` at its first byte, able to seek; afterwards it is open and where it was before."""
    if isinstance(content, FieldFile):
        content = content.file  # opened if nobody has done so yet, as Django's own storages do
    if content.closed:
        raise ImageRejectedError(f"The file {_name(content)} is closed: open it before it is saved.")
    if not content.seekable():
        with SpooledTemporaryFile(max_size=_MEMORY_BYTES) as held:
            _copy(content, held)
            yield held
        return
    position = content.tell()
    content.seek(0)
    try:
        yield cast("IO[bytes]", content)
    finally:
        content.seek(position)


def _copy(stream: File[Any] | IO[bytes], target: IO[bytes]) -> None:
    total = 0
    while chunk := stream.read(_CHUNK_BYTES):
        total += len(chunk)
        if total > _STREAM_BYTES:
            raise ImageRejectedError(
                f"The stream {_name(stream)} has more than {_STREAM_BYTES // 1024**2} MB; "
                f"Cloudflare takes {MAX_BYTES // 1024**2} MB."
            )
        target.write(chunk)
    target.seek(0)


def _name(content: File[Any] | IO[bytes]) -> str:
    return repr(str(getattr(content, "name", None) or "without a name")[:80])
