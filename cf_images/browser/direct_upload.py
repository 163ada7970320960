"""The file that a form's ``cleaned_data`` has for an upload from the browser."""

from __future__ import annotations

import io
from functools import cached_property
from typing import IO, Any

from django.core.files.storage import Storage

from cf_images.browser import reservations
from cf_images.browser.reservations import Verified
from cf_images.images import names
from cf_images.storage.files import UploadedFile


class DirectUpload(UploadedFile):
    """An upload that is at its storage and was verified; saving it in a model's field gives it its name.

    ``format``, ``content_type``, ``width``, ``height`` and ``size`` are what the server has found, and so
    are the bytes: the first 64 KiB are at hand, the rest is downloaded where something reads it.
    """

    def __init__(self, verified: Verified, value: str) -> None:
        self._verified = verified
        self.value = value  # what the form carries
        info = verified.info
        self.format, self.content_type = info.format, info.content_type
        self.width, self.height = info.width, info.height
        super().__init__(self._original(), names.with_extension(verified.row.filename, info.extension))
        self.mode = "rb"

    @property
    def size(self) -> int:
        """Bytes of the original."""
        return self._verified.info.size

    @cached_property
    def image(self) -> Any:
        """The image as Pillow opens it, as Django's ``ImageField`` has it; it has not been decoded."""
        from PIL import Image

        return Image.open(self._original())

    def open(self, mode: str | None = None) -> DirectUpload:  # type: ignore[override]  # fewer arguments
        """Start again at the first byte, also after ``close()``."""
        if mode not in (None, "rb"):
            raise ValueError(f"An upload is read as bytes and never changed: mode {mode!r}.")
        if self.closed:
            self.file = self._original()
        self.seek(0)
        return self

    def take_name(self, storage: Storage, name: str, *, max_length: int | None) -> str | None:
        """Save the upload in ``storage``, once."""
        return reservations.save(self._verified, storage, name, max_length=max_length)

    def discard(self) -> None:
        """Delete the upload; it will not be saved."""
        reservations.discard(self._verified.row)

    def _original(self) -> IO[bytes]:
        return io.BufferedReader(_Original(self._verified))


class _Original(io.RawIOBase):
    """The head from memory, and what follows from the storage."""

    def __init__(self, verified: Verified) -> None:
        self._verified = verified
        self._position = 0
        self._rest: IO[bytes] | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_CUR: self._position, io.SEEK_END: self._verified.info.size}.get(whence, 0)
        if origin + offset < 0:
            raise ValueError(f"Cannot seek to {origin + offset}, before the first byte.")
        self._position = origin + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        data = self._verified.head[self._position :][: len(buffer)]
        if not data and self._position < self._verified.info.size:
            data = self._read_rest(len(buffer))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        if self._rest is not None:
            self._rest.close()
            self._rest = None
        super().close()

    def _read_rest(self, size: int) -> bytes:
        if self._rest is None:
            self._rest = reservations.opened(self._verified.row)
        self._rest.seek(self._position)
        return self._rest.read(size)
