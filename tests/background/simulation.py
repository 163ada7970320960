"""Cloudflare, its faults, the time, and kills of workers, in one process without a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import IO, Any

from cf_images.client import DirectUpload, Image
from cf_images.exceptions import (
    CloudflareUnavailableError,
    ImageExistsError,
    ImageNotFoundError,
    RateLimitedError,
)

FAULTS = (
    "none",
    "lost before",  # the connection breaks before Cloudflare has the request
    "lost after",  # … after it was carried out
    "late",  # it is carried out after the client has given up
    "unreadable",  # HTTP 200, carried out, and the body cannot be read
    "500",
    "429",
    "stale",  # a fresh image is "not found"
    "killed before",
    "killed after",
    "asleep",  # the worker sleeps through its lease, and another one works meanwhile
)


class KilledError(BaseException):
    """SIGKILL, as far as one process can simulate it."""


@dataclass(slots=True)
class StoredImage:
    """An image, or a draft without a body."""

    body: bytes | None
    metadata: dict[str, Any]


@dataclass(slots=True)
class Simulation:
    """Everything outside of the site's processes, and the time."""

    images: dict[str, StoredImage] = field(default_factory=dict)
    late: list[Callable[[], object]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    meanwhile: Callable[[], object] = lambda: None
    time: datetime = datetime(2030, 1, 1, tzinfo=UTC)
    reserved: int = 0
    is_asleep: bool = False

    def now(self) -> datetime:
        return self.time

    def tick(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)
        late, self.late = self.late, []
        for request in late:
            try:
                request()
            except (ImageExistsError, ImageNotFoundError):
                pass

    def request(self, carry_out: Callable[[], Any], *, reads: bool = False) -> Any:
        """Carry out a request with the next fault."""
        fault = self.faults.pop(0) if self.faults else "none"
        if fault == "killed before":
            raise KilledError
        if fault == "asleep" and not self.is_asleep:
            # One at a time: nested sleeps would last longer than the package takes a DELETE to be under way.
            self.is_asleep = True
            try:
                self.tick(200)
                self.meanwhile()
            finally:
                self.is_asleep = False
        if fault == "429":
            raise RateLimitedError("too fast", status=429, code=971, retry_after=30)
        if fault == "stale" and reads:
            raise ImageNotFoundError("not found", status=404, code=5404)
        if fault == "late":
            self.late.append(carry_out)
        if fault in ("lost before", "500", "late"):
            raise CloudflareUnavailableError("no response", status=500 if fault == "500" else None)
        result = carry_out()
        if fault == "killed after":
            raise KilledError
        if fault == "lost after":
            raise CloudflareUnavailableError("no response")
        if fault == "unreadable":
            raise CloudflareUnavailableError("unreadable", status=200)
        return result


class FakeClient:
    """The requests of workers, sent to a simulation."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    def upload(self, file: IO[bytes], *, image_id: str, metadata: dict[str, Any], **_: Any) -> Image:
        body = file.read()

        def carry_out() -> Image:
            if image_id in self._simulation.images:
                raise ImageExistsError("exists", status=409, code=5409)
            self._simulation.images[image_id] = StoredImage(body, metadata)
            return Image(id=image_id, metadata=metadata)

        return self._simulation.request(carry_out)

    def create_direct_upload(self, *, metadata: dict[str, Any], **_: Any) -> DirectUpload:
        def carry_out() -> DirectUpload:
            self._simulation.reserved += 1
            image_id = f"{self._simulation.reserved:08d}-0000-0000-0000-000000000000"
            self._simulation.images[image_id] = StoredImage(None, metadata)
            return DirectUpload(id=image_id, upload_url=image_id)

        return self._simulation.request(carry_out)

    def upload_direct(self, upload_url: str, file: IO[bytes], **_: Any) -> Image:
        body = file.read()

        def carry_out() -> Image:
            stored = self._existing(upload_url)
            if stored.body is not None:
                raise ImageExistsError("used", status=409, code=5409)
            stored.body = body
            return Image(id=upload_url, metadata=stored.metadata)

        return self._simulation.request(carry_out)

    def details(self, image_id: str) -> Image:
        def carry_out() -> Image:
            stored = self._existing(image_id)
            return Image(id=image_id, metadata=stored.metadata, draft=stored.body is None)

        return self._simulation.request(carry_out, reads=True)

    def delete(self, image_id: str) -> None:
        def carry_out() -> None:
            self._existing(image_id)
            del self._simulation.images[image_id]

        self._simulation.request(carry_out)

    def _existing(self, image_id: str) -> StoredImage:
        if image_id not in self._simulation.images:
            raise ImageNotFoundError("not found", status=404, code=5404)
        return self._simulation.images[image_id]
