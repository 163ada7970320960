"""Cloudflare, its faults, a clock and a killer, all in one process and without a network: for the machine."""

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
    "late",  # it is carried out after we have given up
    "odd",  # HTTP 200, carried out, and nobody can read the body
    "500",
    "429",
    "stale",  # a fresh image is "not found"
    "killed before",
    "killed after",
    "asleep",  # the worker sleeps through its lease, and another one works meanwhile
)


class KilledError(BaseException):
    """SIGKILL, as far as one process can play it."""


@dataclass(slots=True)
class Stored:
    """An image, or a draft without a body."""

    body: bytes | None
    metadata: dict[str, Any]


@dataclass(slots=True)
class World:
    """Everything outside of our process, and the time."""

    images: dict[str, Stored] = field(default_factory=dict)
    late: list[Callable[[], object]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    meanwhile: Callable[[], object] = lambda: None
    time: datetime = datetime(2030, 1, 1, tzinfo=UTC)
    reserved: int = 0

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
        """One request and whatever goes wrong with it."""
        fault = self.faults.pop(0) if self.faults else "none"
        if fault == "killed before":
            raise KilledError
        if fault == "asleep":
            self.tick(200)
            self.meanwhile()
        if fault == "429":
            raise RateLimitedError("too fast", status=429, code=971, retry_after=30)
        if fault == "stale" and reads:
            raise ImageNotFoundError("not found", status=404, code=5404)
        if fault == "late":
            self.late.append(carry_out)
        if fault in ("lost before", "500", "late"):
            raise CloudflareUnavailableError("no answer", status=500 if fault == "500" else None)
        result = carry_out()
        if fault == "killed after":
            raise KilledError
        if fault == "lost after":
            raise CloudflareUnavailableError("no answer")
        if fault == "odd":
            raise CloudflareUnavailableError("unreadable", status=200)
        return result


class FakeClient:
    """The calls that workers make, against a world."""

    def __init__(self, world: World) -> None:
        self._world = world

    def upload(self, file: IO[bytes], *, image_id: str, metadata: dict[str, Any], **_: Any) -> Image:
        body = file.read()

        def carry_out() -> Image:
            if image_id in self._world.images:
                raise ImageExistsError("exists", status=409, code=5409)
            self._world.images[image_id] = Stored(body, metadata)
            return Image(id=image_id, metadata=metadata)

        return self._world.request(carry_out)

    def create_direct_upload(self, *, metadata: dict[str, Any], **_: Any) -> DirectUpload:
        def carry_out() -> DirectUpload:
            self._world.reserved += 1
            image_id = f"{self._world.reserved:08d}-0000-0000-0000-000000000000"
            self._world.images[image_id] = Stored(None, metadata)
            return DirectUpload(id=image_id, upload_url=image_id)

        return self._world.request(carry_out)

    def upload_direct(self, upload_url: str, file: IO[bytes], **_: Any) -> Image:
        body = file.read()

        def carry_out() -> Image:
            stored = self._existing(upload_url)
            if stored.body is not None:
                raise ImageExistsError("used", status=409, code=5409)
            stored.body = body
            return Image(id=upload_url, metadata=stored.metadata)

        return self._world.request(carry_out)

    def details(self, image_id: str) -> Image:
        def carry_out() -> Image:
            stored = self._existing(image_id)
            return Image(id=image_id, metadata=stored.metadata, draft=stored.body is None)

        return self._world.request(carry_out, reads=True)

    def delete(self, image_id: str) -> None:
        def carry_out() -> None:
            self._existing(image_id)
            del self._world.images[image_id]

        self._world.request(carry_out)

    def _existing(self, image_id: str) -> Stored:
        if image_id not in self._world.images:
            raise ImageNotFoundError("not found", status=404, code=5404)
        return self._world.images[image_id]
