"""An account in memory: what the storages and the worker ask of Cloudflare, without HTTP.

It refuses what the package knows that Cloudflare refuses, delivers nothing, and has no settings to change:
the emulator has all that.
"""

from __future__ import annotations

import io
import operator
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import IO, Any, NoReturn

from cf_images import images
from cf_images.client import CloudflareImagesClient, DirectUpload, Image, SigningKey, Stats
from cf_images.exceptions import (
    CloudflareImagesError,
    ImageExistsError,
    ImageNotFoundError,
    ImageRejectedError,
)
from cf_images.images.reading import from_start

_UPLOAD_URL = "https://in-memory.invalid/"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredImage:
    """An image as it was uploaded; ``body`` is ``None`` for a reservation that is not filled yet."""

    id: str
    body: bytes | None
    filename: str
    content_type: str
    metadata: dict[str, Any]
    creator: str | None
    require_signed_urls: bool
    uploaded_at: datetime = field(default_factory=lambda: datetime.now(UTC))


class InMemoryCloudflare:
    """The account: ``images`` by ID, ``urls`` with the bytes that ``upload_from_url`` finds, and failures.

    Set ``error`` to one of ``cf_images.exceptions``, and every request raises it.
    """

    def __init__(self) -> None:
        self.stored: dict[str, StoredImage] = {}  # with reservations
        self.urls: dict[str, bytes] = {}
        self.error: CloudflareImagesError | None = None

    @property
    def images(self) -> Mapping[str, StoredImage]:
        """The images by ID, without reservations."""
        return {image.id: image for image in self.stored.values() if image.body is not None}

    def snapshot(self) -> dict[str, StoredImage]:
        """Return all images and reservations, for ``restore``."""
        return dict(self.stored)

    def restore(self, snapshot: Mapping[str, StoredImage]) -> None:
        """Undo what has happened to images since a ``snapshot``."""
        self.stored = dict(snapshot)

    def reset_faults(self) -> None:
        """Let requests succeed again."""
        self.error = None


class InMemoryClient(CloudflareImagesClient):
    """A client whose requests go to an ``InMemoryCloudflare``."""

    def __init__(self, cloudflare: InMemoryCloudflare) -> None:
        super().__init__("in-memory", "in-memory")
        self._cloudflare = cloudflare

    def _requested(self) -> dict[str, StoredImage]:
        """Return the images for one request, unless requests fail."""
        if self._cloudflare.error:
            raise self._cloudflare.error
        return self._cloudflare.stored

    def upload(self, file: IO[bytes], *, image_id: str | None = None, **given: Any) -> Image:
        """Store ``file`` as the real client does."""
        self._check(image_id, given)
        if image_id in self._requested():
            raise ImageExistsError(f"There is an image {image_id!r}.")
        return self._keep(image_id or str(uuid.uuid4()), file, given)

    def upload_url(self, url: str, *, image_id: str | None = None, **given: Any) -> Image:
        """Store what ``urls`` has for ``url``."""
        try:
            body = self._cloudflare.urls[url]
        except KeyError:
            raise ImageRejectedError("The account in memory has no bytes for it: set .urls[url].") from None
        given.setdefault("filename", url.rpartition("/")[2])
        return self.upload(io.BytesIO(body), image_id=image_id, **given)

    def create_direct_upload(self, *, image_id: str | None = None, **given: Any) -> DirectUpload:
        """Reserve an ID; only ``upload_direct`` of this client knows the URL."""
        given.pop("expires_at", None)
        self._check(image_id, given)
        if image_id in self._requested():
            raise ImageExistsError(f"There is an image {image_id!r}.")
        reserved = self._keep(image_id or str(uuid.uuid4()), None, given)
        return DirectUpload(id=reserved.id, upload_url=f"{_UPLOAD_URL}{reserved.id}")

    def upload_direct(
        self, upload_url: str, file: IO[bytes], *, image_id: str | None = None, **given: Any
    ) -> Image:
        """Fill a reservation."""
        reserved = self._find(upload_url.removeprefix(_UPLOAD_URL) if image_id is None else image_id)
        if reserved.body is not None:
            raise ImageExistsError(f"The upload URL of {reserved.id!r} has been used.")
        kept = {name: getattr(reserved, name) for name in ("metadata", "creator", "require_signed_urls")}
        return self._keep(reserved.id, file, {**given, **kept})

    def details(self, image_id: str) -> Image:
        """Return the details of an image or a reservation."""
        return _details(self._find(image_id))

    def delete(self, image_id: str) -> None:
        """Delete an image or a reservation."""
        self._find(image_id)
        del self._requested()[image_id]

    def download(self, image_id: str) -> Any:
        """Return the original as an open file, with the attributes of a ``Download``."""
        found = self._find(image_id)
        if found.body is None:
            raise ImageNotFoundError(f"There is no image {image_id!r}.")
        return _Original(found.body, found.content_type)

    def list_images(
        self, *, creator: str | None = None, meta: Mapping[str, Any] | None = None, **_: Any
    ) -> Iterator[Image]:
        """Yield the images; ``meta`` has conditions of equality, and ranges of numbers."""
        for stored in list(self._requested().values()):
            same_creator = creator is None or (stored.creator or "") == creator
            same_metadata = all(_matches(stored.metadata, key, value) for key, value in (meta or {}).items())
            if stored.body is not None and same_creator and same_metadata:
                yield _details(stored)

    def stats(self) -> Stats:
        """Return the number of images."""
        self._requested()
        return Stats(current=len(self._cloudflare.images), allowed=100_000)

    def signing_keys(self) -> tuple[SigningKey, ...]:
        """Return one key."""
        self._requested()
        return (SigningKey(name="default", value="in-memory"),)

    def _run(self, attempts: Any) -> NoReturn:
        raise NotImplementedError(
            f"The account in memory has no {attempts.request.line}: use cf_images.test.emulated()."
        )

    def _check(self, image_id: str | None, given: Mapping[str, Any]) -> None:
        """Raise for fields that no account accepts."""
        private = bool(given.get("require_signed_urls"))
        self._fields(
            image_id, given.get("metadata"), require_signed_urls=private, creator=given.get("creator")
        )

    def _keep(self, image_id: str, file: IO[bytes] | None, given: Mapping[str, Any]) -> Image:
        body, content_type = _read(file) if file else (None, "")
        kept = self._requested()[image_id] = StoredImage(
            id=image_id,
            body=body,
            filename=given.get("filename") or image_id.rpartition("/")[2],
            content_type=content_type,
            metadata=dict(given.get("metadata") or {}),
            creator=given.get("creator"),
            require_signed_urls=bool(given.get("require_signed_urls")),
        )
        return _details(kept)

    def _find(self, image_id: str) -> StoredImage:
        try:
            return self._requested()[image_id]
        except KeyError:
            raise ImageNotFoundError(f"There is no image {image_id!r}.") from None


class _Original(io.BytesIO):
    """What ``download`` returns."""

    def __init__(self, body: bytes, content_type: str) -> None:
        super().__init__(body)
        self.size, self.content_type = len(body), content_type


def _read(file: IO[bytes]) -> tuple[bytes, str]:
    with from_start(file) as start:
        info = images.validate(start)
        start.seek(0)
        return start.read(), info.content_type


def _details(stored: StoredImage) -> Image:
    return Image(
        id=stored.id,
        filename=stored.filename,
        uploaded_at=stored.uploaded_at,
        require_signed_urls=stored.require_signed_urls,
        metadata=stored.metadata,
        creator=stored.creator,
        draft=stored.body is None,
    )


_RANGES: dict[str, Callable[[Any, Any], bool]] = {
    "[gt:number]": operator.gt,
    "[gte:number]": operator.ge,
    "[lt:number]": operator.lt,
    "[lte:number]": operator.le,
}


def _matches(metadata: Mapping[str, Any], key: str, expected: Any) -> bool:
    path, bracket, kind = key.partition("[")
    found, compare = _at(metadata, path), _RANGES.get(bracket + kind)
    if compare is None:
        return bool(not bracket and found == expected)
    return type(found) in (int, float) and compare(found, expected)


def _at(metadata: Mapping[str, Any], path: str) -> Any:
    value: Any = metadata
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
