"""What an upload consists of: the fields of the form, and the caller's file as its part ``file``."""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from tempfile import SpooledTemporaryFile
from typing import IO, Any

from cf_images.exceptions import ImageRejectedError

MAX_METADATA_BYTES = 1024  # "Limits" (Cloudflare Images docs)
_MAX_FILENAME_LENGTH = 255  # the API's schema
_SPOOL_BYTES = 1024 * 1024
_CHUNK_BYTES = 64 * 1024
_CONTENT_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+", re.ASCII)
# Only for callers who do not say what they send; the first bytes of what Cloudflare takes.
_MAGIC = {
    "image/jpeg": re.compile(rb"\xff\xd8\xff"),
    "image/png": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "image/gif": re.compile(rb"GIF8[79]a"),
    "image/webp": re.compile(rb"RIFF....WEBP", re.DOTALL),
    "image/avif": re.compile(rb"....ftypavi[fs]", re.DOTALL),
    "image/heic": re.compile(rb"....ftyp(hei[cx]|hev[cx]|mif1|msf1)", re.DOTALL),
    "image/svg+xml": re.compile(rb"(\xef\xbb\xbf)?\s*<(svg|\?xml|!--|!doctype svg)", re.IGNORECASE),
}


class UnreadableFileError(Exception):
    """Stops a request whose file failed; the reason is ``FilePart.failure``, which callers get to see."""


def image_fields(
    *,
    image_id: str | None,
    metadata: Mapping[str, Any] | None,
    require_signed_urls: bool,
    creator: str | None,
    **others: str,
) -> dict[str, str]:
    """The fields that every upload may have, as text; ``requireSignedURLs`` always, an empty form fails."""
    fields = {**others, "requireSignedURLs": "true" if require_signed_urls else "false"}
    if image_id is not None:
        fields["id"] = image_id
    if metadata is not None:
        fields["metadata"] = metadata_text(metadata)
    if creator is not None:
        fields["creator"] = creator
    return fields


def metadata_text(metadata: Mapping[str, Any]) -> str:
    """The metadata as one JSON text; ``ImageRejectedError`` when it is no JSON or over 1024 bytes."""
    flaw = ""
    try:
        text = json.dumps(dict(metadata), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        size = len(text.encode())
    except (TypeError, ValueError) as error:
        flaw = str(error)
    if flaw:
        raise ImageRejectedError(f"The metadata cannot be written as JSON: {flaw}.")
    if size > MAX_METADATA_BYTES:
        raise ImageRejectedError(
            f"The metadata has {size} bytes as JSON; Cloudflare takes at most {MAX_METADATA_BYTES}."
        )
    return text


def expiry_text(moment: datetime) -> str:
    """RFC 3339 in UTC; a moment without a time zone is local time."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


class FilePart:
    """The caller's file as httpx may see it: from its start as often as needed, sized, never closed.

    It has no ``fileno``: httpx would take the size of the file on disk for the size of what it reads.
    """

    def __init__(self, file: IO[bytes], *, filename: str, content_type: str | None) -> None:
        self._file = file
        file.seek(0, io.SEEK_END)
        self.size = file.tell()  # not what seek() returned: some wrappers return nothing
        self.filename = filename[-_MAX_FILENAME_LENGTH:].encode(errors="replace").decode()
        self.content_type = _declared(content_type) if content_type else self._sniffed()
        self.failure: Exception | None = None
        self._position = 0

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = self.size if whence == io.SEEK_END else offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        self.failure = None
        try:
            return self._read(size)
        except Exception as error:  # noqa: BLE001  # whatever the caller's file raises is the caller's
            self.failure = error
        raise UnreadableFileError

    def _read(self, size: int) -> bytes:
        if self._position == 0:
            self._file.seek(0)
        chunk = self._file.read(size)
        self._position += len(chunk)
        if self._position > self.size or (not chunk and self._position < self.size):
            raise ImageRejectedError(f"The file had {self.size} bytes and changed while it was sent.")
        return chunk

    def _sniffed(self) -> str:
        self._file.seek(0)
        head = self._file.read(64)
        for content_type, magic in _MAGIC.items():
            if magic.match(head):
                return content_type
        raise ImageRejectedError("The file is no image that Cloudflare takes; if it is, pass content_type.")


def _declared(content_type: str) -> str:
    if not _CONTENT_TYPE.fullmatch(content_type):
        raise ImageRejectedError(f"{content_type[:80]!r} is not a content type such as image/jpeg.")
    return content_type


@contextmanager
def file_part(file: IO[bytes], *, filename: str, content_type: str | None) -> Iterator[FilePart]:
    """The part of ``file``, which is left open and, if it can seek, at the position it had.

    One that cannot seek is copied from where it is: up to 1 MiB in memory, more on disk.
    """
    _check_readable(file)
    position = _position(file)
    if position is None:
        with SpooledTemporaryFile(max_size=_SPOOL_BYTES) as copy:
            shutil.copyfileobj(file, copy, _CHUNK_BYTES)
            yield FilePart(copy, filename=filename, content_type=content_type)
        return
    try:
        yield FilePart(file, filename=filename, content_type=content_type)
    finally:
        file.seek(position)


def _check_readable(file: IO[bytes]) -> None:
    flaw = ""
    try:
        if isinstance(file.read(0), str):
            flaw = "open as text; open it in binary mode, 'rb'"
    except ValueError:
        flaw = "closed; open it before it is uploaded"
    if flaw:
        raise ImageRejectedError(f"The file is {flaw}.")


def _position(file: IO[bytes]) -> int | None:
    try:
        position = file.tell()
        file.seek(position)  # a pipe may know where it is, and still not seek
    except (AttributeError, OSError):
        return None
    return position
