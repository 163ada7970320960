"""A download as a file that seeks; it is downloaded only as far as it is read."""

from __future__ import annotations

import io
from collections.abc import Iterator
from tempfile import SpooledTemporaryFile
from typing import IO, Any

from cf_images.client.transport import Download
from cf_images.exceptions import CloudflareImagesError

_MEMORY_BYTES = 1024 * 1024  # what a spooled file keeps before it goes to disk
_CHUNK_BYTES = 64 * 1024


def seekable(download: Download) -> IO[bytes]:
    """Return ``download`` as a buffered file that seeks.

    Reading raises ``CloudflareUnavailableError`` when Cloudflare stops in the middle.
    """
    return io.BufferedReader(_SeekableDownload(download), _CHUNK_BYTES)


class _SeekableDownload(io.RawIOBase):
    """Keeps what was read, and downloads no more than that."""

    def __init__(self, download: Download) -> None:
        self._download = download
        self._chunks: Iterator[bytes] = iter(download)
        self._kept: IO[bytes] = SpooledTemporaryFile(max_size=_MEMORY_BYTES)  # noqa: SIM115  # closed in close()
        self._kept_size = 0
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
        self._download_until(self._position + len(buffer))
        self._kept.seek(self._position)
        data = self._kept.read(len(buffer))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._download.close()
            self._kept.close()
        super().close()

    def _size(self) -> int:
        if self._download.size is not None:
            return self._download.size
        self._download_until(None)
        return self._kept_size

    def _download_until(self, end: int | None) -> None:
        """Keep the first ``end`` bytes, or all of them."""
        if self._failure:  # a second read must not take the break for the end of the image
            raise self._failure
        while not self._complete and (end is None or self._kept_size < end):
            try:
                chunk = next(self._chunks, None)
            except CloudflareImagesError as error:
                self._failure = error
                raise
            if chunk is None:
                self._complete = True
                self._download.close()
                return
            self._kept.seek(self._kept_size)
            self._kept.write(chunk)
            self._kept_size += len(chunk)
