"""The body of an upload: a multipart form of text fields and the caller's file as its part ``file``."""

from __future__ import annotations

import io
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from tempfile import SpooledTemporaryFile
from typing import IO, Any

from cf_images.exceptions import ImageRejectedError
from cf_images.images import content_type_of, detect_format
from cf_images.images.metadata import MAX_FILENAME_LENGTH, MAX_METADATA_BYTES, encode

_SPOOL_BYTES = 1024 * 1024
_CHUNK_BYTES = 64 * 1024
_CONTENT_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+", re.ASCII)
# In a quoted parameter, as browsers and httpx write them: nothing can end the quotes or the line.
_QUOTED = {character: f"%{character:02X}" for character in range(0x20)} | {ord('"'): "%22", ord("\\"): r"\\"}


class UnreadableFileError(Exception):
    """Stops a request whose file failed; ``FilePart.failure`` is the error that the caller gets."""


def image_fields(
    *,
    image_id: str | None,
    metadata: Mapping[str, Any] | None,
    require_signed_urls: bool,
    creator: str | None,
    **others: str,
) -> dict[str, str]:
    """Return the fields that every upload may have, as text.

    ``requireSignedURLs`` is always among them, since Cloudflare rejects an empty form.
    """
    fields = {**others, "requireSignedURLs": "true" if require_signed_urls else "false"}
    if image_id is not None:
        fields["id"] = image_id
    if metadata is not None:
        fields["metadata"] = metadata_text(metadata)
    if creator is not None:
        fields["creator"] = creator
    return fields


def metadata_text(metadata: Mapping[str, Any]) -> str:
    """Return the metadata as JSON; raise ``ImageRejectedError`` if it is no JSON or over 1024 bytes."""
    text = encode(metadata)
    size = len(text.encode())
    if size > MAX_METADATA_BYTES:
        raise ImageRejectedError(
            f"The metadata has {size} bytes as JSON; Cloudflare accepts at most {MAX_METADATA_BYTES}."
        )
    return text


def expiry_text(moment: datetime) -> str:
    """Return RFC 3339 in UTC; a moment without a time zone is local time."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


class FilePart:
    """The caller's file as a part of a form: read from its start for each attempt, never closed."""

    def __init__(self, file: IO[bytes], *, filename: str, content_type: str | None) -> None:
        self._file = file
        file.seek(0, io.SEEK_END)
        self.size = file.tell()  # not what seek() returned: some wrappers return nothing
        self.filename = filename[-MAX_FILENAME_LENGTH:].encode(errors="replace").decode()
        self.content_type = _checked(content_type) if content_type else self._detected()
        self.failure: Exception | None = None

    def __iter__(self) -> Iterator[bytes]:
        """Yield the file in chunks; raise ``UnreadableFileError`` where it fails or changes its size."""
        self.failure = None
        try:
            yield from self._chunks()
        except Exception as error:  # noqa: BLE001  # the caller gets whatever its file raises
            self.failure = error
        if self.failure is not None:
            raise UnreadableFileError

    def _chunks(self) -> Iterator[bytes]:
        self._file.seek(0)
        left = self.size
        while left >= 0 and (chunk := self._file.read(_CHUNK_BYTES)):
            left -= len(chunk)
            if left >= 0:
                yield chunk
        if left:
            raise ImageRejectedError(f"The file had {self.size} bytes and changed while it was sent.")

    def _detected(self) -> str:
        self._file.seek(0)
        if found := detect_format(self._file.read(_CHUNK_BYTES)):
            return content_type_of(found)
        raise ImageRejectedError(
            "The file is in no image format that Cloudflare accepts. If it is, pass content_type."
        )


class Form:
    """A multipart form (RFC 7578) of known size, in as few chunks as reading the file allows."""

    def __init__(self, fields: Mapping[str, str], file: FilePart | None) -> None:
        boundary = os.urandom(16).hex()
        self.content_type = f"multipart/form-data; boundary={boundary}"
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in fields.items()
        ]
        self._file: FilePart | tuple[()] = ()
        self._end = f"--{boundary}--\r\n".encode()
        self.size = 0
        if file is not None:
            parts.append(
                f'--{boundary}\r\nContent-Disposition: form-data; name="file"; '
                f'filename="{file.filename.translate(_QUOTED)}"\r\nContent-Type: {file.content_type}\r\n\r\n'
            )
            self._file, self._end, self.size = file, b"\r\n" + self._end, file.size
        self._start = "".join(parts).encode()
        self.size += len(self._start) + len(self._end)

    def __iter__(self) -> Iterator[bytes]:
        pending = self._start
        for chunk in self._file:
            pending += chunk
            if len(pending) >= _CHUNK_BYTES:
                yield pending
                pending = b""
        yield pending + self._end


def _checked(content_type: str) -> str:
    if not _CONTENT_TYPE.fullmatch(content_type):
        raise ImageRejectedError(f"{content_type[:80]!r} is not a content type such as image/jpeg.")
    return content_type


@contextmanager
def file_part(file: IO[bytes], *, filename: str, content_type: str | None) -> Iterator[FilePart]:
    """Yield the part for ``file``, which stays open and, if it can seek, at the position it had.

    A file that cannot seek is copied from where it is: up to 1 MiB in memory, more on disk.
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
    problem = ""
    try:
        if isinstance(file.read(0), str):
            problem = "open as text; open it in binary mode, 'rb'"
    except ValueError:
        problem = "closed; open it before it is uploaded"
    if problem:
        raise ImageRejectedError(f"The file is {problem}.")


def _position(file: IO[bytes]) -> int | None:
    try:
        position = file.tell()
        file.seek(position)  # a pipe may know its position and still be unable to seek
    except (AttributeError, OSError):
        return None
    return position
