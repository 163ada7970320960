"""The file that the storage opens: the original of an image, as Django reads it."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import IO, Any

from django.core.files.base import File
from django.core.files.storage import Storage
from django.db.models.fields.files import FieldFile


class CloudflareImagesFile(File):  # type: ignore[type-arg]  # generic for mypy only
    """The original of an image, read-only: seeks, iterates, closes, and reopens by calling ``fetch`` again.

    ``fetch`` returns a file at its first byte or raises ``ImageNotFoundError``.
    """

    def __init__(self, name: str, fetch: Callable[[], IO[bytes]]) -> None:
        self._fetch = fetch
        super().__init__(fetch(), name)
        self.mode = "rb"

    def open(self, mode: str | None = None) -> CloudflareImagesFile:  # type: ignore[override]  # fewer arguments
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


def content_of(file: File[Any]) -> Any:
    """Return what is read for a file to save: the file of a field that is saved again."""
    return file.file if isinstance(file, FieldFile) else file


class UploadedFile(File):  # type: ignore[type-arg]  # generic for mypy only
    """A file whose bytes are where its storage has them, and only lack a name."""

    def take_name(self, storage: Storage, name: str, *, max_length: int | None) -> str | None:
        """Give the file a name like ``name`` in ``storage``, once, and return it.

        ``None`` where its bytes are elsewhere: they are saved as those of any file.
        """
        raise NotImplementedError(f"{type(self).__name__} must define take_name().")
