"""Renditions that were made before: a cache, in memory or on disk, of what can be made again."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

MEMORY_BYTES = 64 * 1024 * 1024
NEWLINE = b"\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendition:
    """One variant of one image, ready to be sent."""

    body: bytes
    content_type: str
    warnings: tuple[str, ...] = ()

    @property
    def etag(self) -> str:
        """Changes with the bytes."""
        return hashlib.sha256(self.body).hexdigest()[:32]


class Renditions(Protocol):
    """A cache by image (its body's key) and by what was asked."""

    def get(self, body_key: str, asked: str) -> Rendition | None:
        """What was stored."""
        ...

    def put(self, body_key: str, asked: str, rendition: Rendition) -> None:
        """Store it."""
        ...

    def forget(self, body_key: str | None = None) -> None:
        """Everything of one image, or everything."""
        ...


class MemoryRenditions:
    """The latest 64 MB."""

    def __init__(self, limit: int = MEMORY_BYTES) -> None:
        self._limit = limit
        self._size = 0
        self._lock = threading.Lock()
        self._stored: OrderedDict[tuple[str, str], Rendition] = OrderedDict()

    def get(self, body_key: str, asked: str) -> Rendition | None:
        with self._lock:
            found = self._stored.get((body_key, asked))
            if found:
                self._stored.move_to_end((body_key, asked))
            return found

    def put(self, body_key: str, asked: str, rendition: Rendition) -> None:
        with self._lock:
            self._drop((body_key, asked))
            self._stored[body_key, asked] = rendition
            self._size += len(rendition.body)
            while self._size > self._limit:
                self._drop(next(iter(self._stored)))

    def _drop(self, key: tuple[str, str]) -> None:
        if dropped := self._stored.pop(key, None):
            self._size -= len(dropped.body)

    def forget(self, body_key: str | None = None) -> None:
        with self._lock:
            for key in [key for key in self._stored if body_key in (None, key[0])]:
                self._drop(key)


class FileRenditions:
    """Files in a folder for each image: a line of JSON, then the bytes. Complete or not there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._folder.mkdir(parents=True, exist_ok=True)

    def _path(self, body_key: str, asked: str) -> Path:
        return self._folder / body_key / hashlib.sha256(asked.encode()).hexdigest()

    def get(self, body_key: str, asked: str) -> Rendition | None:
        try:
            head, _, body = self._path(body_key, asked).read_bytes().partition(NEWLINE)
        except OSError:
            return None
        described: Mapping[str, object] = json.loads(head)
        return Rendition(
            body=body,
            content_type=str(described["content_type"]),
            warnings=tuple(described["warnings"]),  # type: ignore[arg-type]
        )

    def put(self, body_key: str, asked: str, rendition: Rendition) -> None:
        described = asdict(rendition)
        body = described.pop("body")
        path = self._path(body_key, asked)
        path.parent.mkdir(exist_ok=True)
        # The image may be deleted, and its folder with it, while this is written.
        with (
            contextlib.suppress(FileNotFoundError),
            tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file,
        ):
            file.write(json.dumps(described).encode() + NEWLINE + body)
            file.flush()
            os.replace(file.name, path)

    def forget(self, body_key: str | None = None) -> None:
        if body_key is not None:
            shutil.rmtree(self._folder / body_key, ignore_errors=True)
            return
        for path in self._folder.iterdir():
            shutil.rmtree(path, ignore_errors=True)
