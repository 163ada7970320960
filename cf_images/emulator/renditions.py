"""A cache of renditions, in memory or on disk; every rendition can be made again."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import threading
from collections import OrderedDict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

MEMORY_BYTES = 64 * 1024 * 1024
NEWLINE = b"\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendition:
    """One variant of one image, encoded."""

    body: bytes
    content_type: str
    warnings: tuple[str, ...] = ()

    @property
    def etag(self) -> str:
        """A hash of the bytes, in hex."""
        return hashlib.sha256(self.body).hexdigest()[:32]


class Renditions(Protocol):
    """A cache of renditions by the key of the image's bytes and by variant."""

    def get(self, body_key: str, variant_key: str) -> Rendition | None:
        """Return the stored rendition, if any."""
        ...

    def put(self, body_key: str, variant_key: str, rendition: Rendition) -> None:
        """Store a rendition."""
        ...

    def clear(self, body_key: str | None = None) -> None:
        """Delete the renditions of one image, or all."""
        ...


class MemoryRenditions:
    """Renditions in memory: the latest ``limit`` bytes."""

    def __init__(self, limit: int = MEMORY_BYTES) -> None:
        self._limit = limit
        self._size = 0
        self._lock = threading.Lock()
        self._stored: OrderedDict[tuple[str, str], Rendition] = OrderedDict()

    def get(self, body_key: str, variant_key: str) -> Rendition | None:
        with self._lock:
            rendition = self._stored.get((body_key, variant_key))
            if rendition:
                self._stored.move_to_end((body_key, variant_key))
            return rendition

    def put(self, body_key: str, variant_key: str, rendition: Rendition) -> None:
        with self._lock:
            self._drop((body_key, variant_key))
            self._stored[body_key, variant_key] = rendition
            self._size += len(rendition.body)
            while self._size > self._limit:
                self._drop(next(iter(self._stored)))

    def _drop(self, key: tuple[str, str]) -> None:
        if dropped := self._stored.pop(key, None):
            self._size -= len(dropped.body)

    def clear(self, body_key: str | None = None) -> None:
        with self._lock:
            for key in [key for key in self._stored if body_key in (None, key[0])]:
                self._drop(key)


class FileRenditions:
    """Renditions in files, one folder for each image: a line of JSON, then the bytes; replaced atomically."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._folder.mkdir(parents=True, exist_ok=True)

    def _path(self, body_key: str, variant_key: str) -> Path:
        return self._folder / body_key / hashlib.sha256(variant_key.encode()).hexdigest()

    def get(self, body_key: str, variant_key: str) -> Rendition | None:
        try:
            line, _, body = self._path(body_key, variant_key).read_bytes().partition(NEWLINE)
        except OSError:
            return None
        header: dict[str, Any] = json.loads(line)
        return Rendition(body=body, content_type=header["content_type"], warnings=tuple(header["warnings"]))

    def put(self, body_key: str, variant_key: str, rendition: Rendition) -> None:
        header = asdict(rendition)
        body = header.pop("body")
        path = self._path(body_key, variant_key)
        path.parent.mkdir(exist_ok=True)
        # A concurrent request may delete the image and this folder.
        with (
            contextlib.suppress(FileNotFoundError),
            tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file,
        ):
            file.write(json.dumps(header).encode() + NEWLINE + body)
            file.flush()
            os.replace(file.name, path)

    def clear(self, body_key: str | None = None) -> None:
        if body_key is not None:
            shutil.rmtree(self._folder / body_key, ignore_errors=True)
            return
        for path in self._folder.iterdir():
            shutil.rmtree(path, ignore_errors=True)
