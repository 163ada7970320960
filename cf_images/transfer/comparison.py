"""Compare one file with what the ledger says of it: at Cloudflare, or in another storage."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from enum import Enum
from typing import IO

from django.core.files.storage import Storage

from cf_images import images
from cf_images.background.reading import open_source
from cf_images.background.writing import Content, content_of, is_plain_folder
from cf_images.client import CloudflareImagesClient
from cf_images.client.seekable import seekable
from cf_images.exceptions import ImageNotFoundError, ImageRejectedError, RenderingError
from cf_images.images import metadata, names
from cf_images.images.limits import MAX_AREA
from cf_images.models import Transfer
from cf_images.rendering import sources

# "Get image blob" (Cloudflare's API reference): the original, or a near-lossless version of a very large one.
# Which are very large is not documented.
LARGE_BYTES = 10_000_000
LARGE_AREA = 25_000_000  # pixels

_UNSUPPORTED = 9412  # Cloudflare's code for a format that is not decoded here
_decoding = threading.Lock()  # one at a time: a large image takes hundreds of megabytes


class Kind(Enum):
    """What was found about a file."""

    EQUAL = "equal"
    THERE = "there"  # and nothing is known that it could be compared with
    OTHER_BYTES = "other bytes"  # a very large image, which Cloudflare has encoded anew
    MISSING = "missing"
    DIFFERENT = "different"
    UNKNOWN = "unknown"  # it could not be read


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What was found about a file, and why if it is not equal."""

    kind: Kind
    reason: str = ""


EQUAL = Result(kind=Kind.EQUAL)
THERE = Result(kind=Kind.THERE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """What the ledger says of a file in the target; ``None`` and ``""`` for what it does not know."""

    name: str
    image_id: str = ""
    size: int | None = None
    sha256: str = ""
    width: int | None = None
    height: int | None = None
    is_private: bool | None = None

    @classmethod
    def of(cls, transfer: Transfer) -> Copy:
        """Return what a row says."""
        name = transfer.name or ""
        return cls(
            name=name,
            image_id=transfer.remote_id or names.image_id(name),
            size=transfer.size,
            sha256=transfer.sha256,
            width=transfer.width,
            height=transfer.height,
            is_private=transfer.require_signed_urls,
        )

    @property
    def is_known(self) -> bool:
        """Whether there is anything to compare a file with."""
        return self.size is not None or bool(self.sha256)

    @property
    def is_large(self) -> bool:
        """Whether Cloudflare may return other bytes than were sent."""
        area = (self.width or 0) * (self.height or 0)
        return (self.size or 0) >= LARGE_BYTES or area >= LARGE_AREA


def different(reason: str) -> Result:
    """Return the result of a file that is not as it should be."""
    return Result(kind=Kind.DIFFERENT, reason=reason)


def compare_image(client: CloudflareImagesClient, copy: Copy, *, read_bytes: bool) -> Result:
    """Compare an image at Cloudflare by one request; with ``read_bytes`` by another one for the original.

    Raise the errors of the client but ``ImageNotFoundError``.
    """
    try:
        result = _compare_image(client, copy, read_bytes=read_bytes and copy.is_known)
        return THERE if result is EQUAL and not copy.is_known else result
    except ImageNotFoundError:
        return Result(kind=Kind.MISSING, reason=f"Cloudflare has no image {copy.image_id!r}.")


def _compare_image(client: CloudflareImagesClient, copy: Copy, *, read_bytes: bool) -> Result:
    image = client.details(copy.image_id)
    if image.draft:
        return different("It is a draft at Cloudflare: its ID is reserved, and no file was uploaded.")
    if copy.is_private is not None and image.require_signed_urls != copy.is_private:
        return different(f"It is {'private' if image.require_signed_urls else 'public'} at Cloudflare.")
    size = metadata.size_of(image.metadata)
    if size is None and copy.size is not None and not read_bytes:
        with client.download(copy.image_id) as download:  # it says the size, and is not read
            size = download.size
    if None not in (size, copy.size) and size != copy.size:
        return different(f"It has {size:,} bytes at Cloudflare, and {copy.size:,} in the ledger.")
    return _compare_original(client, copy) if read_bytes else EQUAL


def _compare_original(client: CloudflareImagesClient, copy: Copy) -> Result:
    with client.download(copy.image_id) as download:
        found = content_of(download)
    result = _compared(copy, found)
    if result is EQUAL or not copy.is_large or found.size == copy.size:
        return result  # encoded anew, an image has another size
    with seekable(client.download(copy.image_id)) as file:
        return _compare_pixels(copy, file, result)


def _compare_pixels(copy: Copy, file: IO[bytes], result: Result) -> Result:
    try:
        info = images.inspect(file)
        body = file.read()
        with _decoding, sources.rendering_errors():
            source = sources.open_source(body, sources.sniff(body), max_pixels=MAX_AREA)
            source.first(at_least=(1, 1))
    except ImageRejectedError:
        return result
    except RenderingError as error:
        if error.code != _UNSUPPORTED:
            return result
    if (info.width, info.height) != (copy.width, copy.height):
        return result
    reason = f"{result.reason} It is very large: Cloudflare may return such an image encoded anew."
    return Result(kind=Kind.OTHER_BYTES, reason=reason)


def compare_file(storage: Storage, copy: Copy, *, read_bytes: bool) -> Result:
    """Compare a file in another storage than Cloudflare; one in a folder is always read.

    Raise ``OSError`` and what the storage raises for what may pass.
    """
    try:
        if not read_bytes and not is_plain_folder(storage):
            return _compare_size(storage, copy)
        with open_source(storage, copy.name) as file:
            return _compared(copy, content_of(file))
    except FileNotFoundError:
        return Result(kind=Kind.MISSING, reason="There is no file of this name.")
    except ImageRejectedError as error:
        return different(error.message)


def _compare_size(storage: Storage, copy: Copy) -> Result:
    size = storage.size(copy.name)
    if copy.size is not None and size != copy.size:
        return different(f"It has {size:,} bytes, and {copy.size:,} in the ledger.")
    return EQUAL


def _compared(copy: Copy, found: Content) -> Result:
    if copy.size is not None and found.size != copy.size:
        return different(f"It has {found.size:,} bytes, and {copy.size:,} in the ledger.")
    if copy.sha256 and found.sha256 != copy.sha256:
        return different(f"Its {found.size:,} bytes are others than those that were copied.")
    return EQUAL
