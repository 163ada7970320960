"""The bytes of images: in memory, or in files with random names that are never reused or rewritten.

A file is written in ``incoming/`` and renamed once it is complete. The database row that names it is
inserted after that, and deleted before the file is. If the process is killed at any moment, the worst result
is a file without a row, which :meth:`FileBodies.sweep` deletes.
"""

from __future__ import annotations

import hashlib
import io
import os
import secrets
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import IO, Protocol

from cf_images.emulator.errors import TOO_LARGE, ApiError


class Bodies(Protocol):
    """A store of byte strings under random keys."""

    def incoming(self) -> IO[bytes]:
        """Open a temporary file for :meth:`keep`."""
        ...

    def keep(self, stream: IO[bytes]) -> str:
        """Store the bytes and return their key; the caller closes the stream."""
        ...

    def open(self, key: str) -> IO[bytes]:
        """Open the bytes for reading; raise ``FileNotFoundError`` if they were deleted."""
        ...

    def discard(self, key: str) -> None:
        """Delete the bytes; do nothing if they were deleted before."""
        ...

    def sweep(self, known: Collection[str]) -> None:
        """Delete all bytes except those under the known keys."""
        ...


class MemoryBodies:
    """Bytes in memory, lost when the process ends."""

    def __init__(self) -> None:
        self._bodies: dict[str, bytes] = {}

    def incoming(self) -> IO[bytes]:
        return io.BytesIO()

    def keep(self, stream: IO[bytes]) -> str:
        key = secrets.token_hex(16)
        assert isinstance(stream, io.BytesIO)  # noqa: S101 - made by incoming()
        self._bodies[key] = stream.getvalue()  # shares the buffer: no second copy
        return key

    def open(self, key: str) -> IO[bytes]:
        try:
            return io.BytesIO(self._bodies[key])
        except KeyError:
            raise FileNotFoundError(key) from None

    def discard(self, key: str) -> None:
        self._bodies.pop(key, None)

    def sweep(self, known: Collection[str]) -> None:
        """Do nothing: a new process has no old bytes in memory."""


class FileBodies:
    """Bytes in files, kept when the process ends in any way."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._incoming = folder / "incoming"
        self._incoming.mkdir(parents=True, exist_ok=True)

    def incoming(self) -> IO[bytes]:
        # On Windows an open file cannot be renamed; a kept file is closed first anyway.
        return tempfile.NamedTemporaryFile(dir=self._incoming, delete=False)

    def keep(self, stream: IO[bytes]) -> str:
        key = secrets.token_hex(16)
        stream.flush()
        os.replace(stream.name, self._folder / key)
        return key

    def open(self, key: str) -> IO[bytes]:
        return (self._folder / key).open("rb")

    def discard(self, key: str) -> None:
        (self._folder / key).unlink(missing_ok=True)

    def sweep(self, known: Collection[str]) -> None:
        for path in [*self._folder.iterdir(), *self._incoming.iterdir()]:
            if path.is_file() and path.name not in known:
                path.unlink(missing_ok=True)


class Spool:
    """An incoming file: writing counts and hashes the bytes, and fails above ``limit`` bytes."""

    def __init__(self, bodies: Bodies, *, limit: int) -> None:
        self._bodies = bodies
        self._limit = limit
        self._digest = hashlib.sha256()
        self.stream = bodies.incoming()
        self.size = 0
        self.key: str | None = None

    def write(self, data: bytes) -> int:
        """Write a chunk; raise :class:`ApiError` with 5413 above the limit."""
        self.size += len(data)
        if self.size > self._limit:
            raise ApiError(TOO_LARGE, f"more than {self._limit:,} bytes")
        self._digest.update(data)
        return self.stream.write(data)

    def seek(self, position: int) -> int:
        """Move to a position; the multipart parser calls this at the end of a part."""
        return self.stream.seek(position)

    @property
    def digest(self) -> str:
        """The SHA-256 in hex of the bytes so far."""
        return self._digest.hexdigest()

    def keep(self) -> str:
        """Store the bytes and return their key; the caller is responsible for deleting them."""
        self.key = self._bodies.keep(self.stream)
        return self.key

    def close(self) -> None:
        """Close the file, and delete it unless it was kept."""
        self.stream.close()
        if self.key is None and isinstance(name := getattr(self.stream, "name", None), str):
            Path(name).unlink(missing_ok=True)
