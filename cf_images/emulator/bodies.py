"""Where the bytes lie: in memory, or as files whose names are random, never reused and never rewritten.

A file comes into being under ``incoming/`` and is renamed when it is complete. The database row that
names it is written after that, and a row is gone before its file is: a process killed at any moment
leaves at worst a file that no row names, and :meth:`FileBodies.sweep` takes those away.
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
    """A heap of byte strings under random keys."""

    def incoming(self) -> IO[bytes]:
        """A file to write to, which :meth:`keep` takes or closing throws away."""
        ...

    def keep(self, stream: IO[bytes]) -> str:
        """The key under which the bytes now lie; the stream stays the caller's to close."""
        ...

    def open(self, key: str) -> IO[bytes]:
        """The bytes, from the start; ``FileNotFoundError`` when they are gone."""
        ...

    def discard(self, key: str) -> None:
        """Forget them; silent when they are gone already."""
        ...

    def sweep(self, known: Collection[str]) -> None:
        """Forget everything but these keys."""
        ...


class MemoryBodies:
    """Bytes that end with the process."""

    def __init__(self) -> None:
        self._bodies: dict[str, bytes] = {}

    def incoming(self) -> IO[bytes]:
        return io.BytesIO()

    def keep(self, stream: IO[bytes]) -> str:
        key = secrets.token_hex(16)
        assert isinstance(stream, io.BytesIO)  # noqa: S101 - ours, from incoming()
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
        """Nothing is left over in memory."""


class FileBodies:
    """Bytes in files: they outlive the process, however it ends."""

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
    """Bytes on their way in: counted, hashed, and refused with 5413 beyond ``limit``."""

    def __init__(self, bodies: Bodies, *, limit: int) -> None:
        self._bodies = bodies
        self._limit = limit
        self._digest = hashlib.sha256()
        self.stream = bodies.incoming()
        self.size = 0
        self.key: str | None = None

    def write(self, data: bytes) -> int:
        """Take a chunk."""
        self.size += len(data)
        if self.size > self._limit:
            raise ApiError(TOO_LARGE, f"more than {self._limit:,} bytes")
        self._digest.update(data)
        return self.stream.write(data)

    def seek(self, position: int) -> int:
        """What a multipart parser does when the part is complete."""
        return self.stream.seek(position)

    @property
    def digest(self) -> str:
        """SHA-256 of what was written so far, in hex."""
        return self._digest.hexdigest()

    def keep(self) -> str:
        """Store the bytes; the key belongs to the caller now."""
        self.key = self._bodies.keep(self.stream)
        return self.key

    def close(self) -> None:
        """Let go of the file, and of the bytes unless they were kept."""
        self.stream.close()
        if self.key is None and isinstance(name := getattr(self.stream, "name", None), str):
            Path(name).unlink(missing_ok=True)
