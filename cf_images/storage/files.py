"""The file that the storage opens: the original of an image, as Django reads it."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import IO, Any

from django.core.files.base import File
from django.core.files.uploadedfile import InMemoryUploadedFile
from django.db.models.fields.files import FieldFile

_DJANGOS_CHUNKS = (File.chunks, InMemoryUploadedFile.chunks)  # these give what read() gives


class CloudflareImagesFile(File):  # type: ignore[type-arg]  # generic for mypy only
    """The original of an image, read-only: seeks, iterates, closes, and reopens by calling ``fetch`` again.

    ``fetch`` returns a file at its first byte or raises ``ImageNotFoundError``.
    """

    def __init__(self, name: str, fetch: Callable[[], IO[bytes]]) -> None:
        self._fetch = fetch
        super().__init__(fetch(), name)
        self.mode = "rb"

    def open(self, mode: str | None = None) -> CloudflareImagesFile:  # type: ignore[override]
        """Start again at the first byte, also after ``close()``."""
        if mode not in (None, "rb"):
            raise ValueError(f"Images at Cloudflare are read as bytes and never changed: mode {mode!r}.")
        if self.closed:
            self.file = self._fetch()
        self.seek(0)
        return self

    @property
    def size(self) -> int:
        """Bytes of the original; of a download from the response's header, where it has one."""
        position = self.tell()
        size = self.seek(0, io.SEEK_END)
        self.seek(position)
        return int(size)


class _Chunks(io.RawIOBase):
    """The chunks of a file as a stream."""

    def __init__(self, file: File[Any]) -> None:
        self.name = file.name
        self._chunks = iter(file.chunks())
        self._rest = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while size < 0 or len(self._rest) < size:
            chunk = next(self._chunks, None)
            if chunk is None:
                size = len(self._rest)
                break
            self._rest += chunk
        data, self._rest = self._rest[:size], self._rest[size:]
        return data


def readable(content: File[Any]) -> Any:
    """Return the file to read for ``content``: that of a field; a stream, where its class makes its chunks
    itself, as Django's own storages read them.
    """
    if getattr(type(content), "chunks", None) not in _DJANGOS_CHUNKS:
        return _Chunks(content)
    return content.file if isinstance(content, FieldFile) else content
