"""One attempt to copy a file from one storage to another, or to delete it there."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import IO, Any, cast

from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import Storage
from django.db import Error

from cf_images import images
from cf_images.accounts import Account, AccountStorage
from cf_images.background import operations, places, timing, wording
from cf_images.background.confirm import AnotherImageError, look
from cf_images.background.fetch import FetchError
from cf_images.background.leases import Claim, LeaseLostError
from cf_images.background.outcomes import Stored
from cf_images.background.reading import open_source
from cf_images.background.rows import open_pending
from cf_images.background.writing import content_of, write_exactly
from cf_images.client import CloudflareImagesClient, Image
from cf_images.client.seekable import seekable
from cf_images.exceptions import CloudflareImagesError, ImageExistsError, ImageRejectedError
from cf_images.images import ImageInfo, names
from cf_images.images.converting import convert
from cf_images.images.metadata import build as build_metadata
from cf_images.images.metadata import uploaded_of
from cf_images.models import ANOTHER_HAS_IT, Transfer


class TransferError(FetchError):
    """A file cannot be read or written now; a few more attempts may help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyOptions:
    """How a transfer is carried out; a row holds it as JSON.

    ``fit_limits`` reduces images that are over Cloudflare's limits; ``convert`` maps formats that it refuses
    to formats that it takes (``{"bmp": "png"}``); ``max_length`` is that of the field, for the names of
    private images.
    """

    fit_limits: bool = False
    convert: Mapping[str, str] = field(default_factory=dict)
    max_length: int | None = None

    @classmethod
    def of(cls, written: Mapping[str, Any]) -> CopyOptions:
        """Return the options of a row."""
        return cls(**written)

    def as_json(self) -> dict[str, Any]:
        """Return what a row holds."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file that can be sent to Cloudflare, and what it is."""

    file: IO[bytes]
    info: ImageInfo
    sha256: str


@contextmanager
def prepared(row: Transfer) -> Iterator[Source]:
    """Read and check the source, as ``CopyOptions`` say; no request is made to the target.

    Raise ``ImageRejectedError`` for a file that cannot be sent, ``TransferError`` for what may pass.
    """
    options = CopyOptions.of(row.options)
    with ExitStack() as stack:
        with _failures("read"):
            original = stack.enter_context(open_source(places.storage_of(row.source), row.source_name))
            file, info = prepare(original, options)
            file.seek(0)
            digest = content_of(file).sha256
        yield Source(file=file, info=info, sha256=digest)


def prepare(file: IO[bytes], options: CopyOptions) -> tuple[IO[bytes], ImageInfo]:
    """Return the file as it is sent, perhaps a converted or smaller one, and its info.

    Raise ``ImageRejectedError`` for what Cloudflare would refuse.
    """
    converted = convert(file, options.convert) if options.convert else file
    return images.accept(converted, reduce=options.fit_limits)


def send(claim: Claim[Transfer], client: CloudflareImagesClient, source: Source, account: Account) -> Stored:
    """Upload the file; return the image as Cloudflare has confirmed it.

    An image that has the ID already, for example from a run whose ledger is lost, counts if it has the same
    bytes; ``client`` is that of the attempt.
    """
    row, options = claim.row, account.options
    stem = _private_stem(row) if row.require_signed_urls else ""
    filename = posixpath.basename(row.name or stem or row.source_name)
    sending = operations.Sending(
        opened=lambda: _rewound(source.file),
        filename=filename,
        content_type=source.info.content_type,
        metadata=build_metadata(
            source.info, filename, options.metadata, site=options.site, name=stem, token=row.token
        ),
        creator=options.creator,
    )
    try:
        image = operations.upload(claim, client, sending)
    except AnotherImageError:
        if (same := _same(claim, client, source, account)) is None:
            raise
        image = same
    else:
        if _is_of_earlier_attempt(claim, image, sending) and not _has_bytes(claim, image, source, account):
            operations.take_back(claim, client, image.id)
            raise operations.NotYetError(
                "The file is not as an earlier attempt has sent it: it is sent anew."
            )
    columns = {**operations.columns_of(source.info), "sha256": source.sha256}
    del columns["content_type"]
    if row.require_signed_urls:
        columns["name"] = names.with_remote_id(names.with_extension(stem, source.info.extension), image.id)
    return Stored(claim, remote_id=image.id, columns=columns)


def fetch(claim: Claim[Transfer], client: CloudflareImagesClient) -> Stored:
    """Download the original from Cloudflare, and write it under exactly the name that the row says."""
    row = claim.row
    storage = places.storage_of(row.source)
    with _original(storage, row.source_name, client) as file:
        claim.renew()
        return _written(claim, file)


def copy_file(claim: Claim[Transfer]) -> Stored:
    """Copy the file where neither storage is at Cloudflare."""
    row = claim.row
    with _failures("read"), open_source(places.storage_of(row.source), row.source_name) as file:
        return _written(claim, file)


def delete_file(row: Transfer) -> None:
    """Delete the file in a target that is not at Cloudflare; a missing one is no error."""
    if not row.name:
        return
    with _failures("deleted"), suppress(FileNotFoundError):
        places.storage_of(row.storage).delete(row.name)


def _written(claim: Claim[Transfer], file: IO[bytes]) -> Stored:
    row = claim.row
    storage = places.storage_of(row.storage)
    name = row.name or ""
    with _failures("written"):
        try:
            content = write_exactly(storage, name, file)
        except ImageExistsError as error:
            raise ImageRejectedError(error.message, code=ANOTHER_HAS_IT) from None
    columns: dict[str, Any] = {"size": content.size, "sha256": content.sha256}
    try:
        with storage.open(name) as written:
            info = images.inspect(cast("IO[bytes]", written))
    except Exception:  # noqa: BLE001, S110  # not every file is an image, and not every storage reads at once
        pass
    else:
        columns |= {"width": info.width, "height": info.height}
    return Stored(claim, remote_id="", columns=columns)


@contextmanager
def _original(storage: Storage, name: str, client: CloudflareImagesClient) -> Iterator[IO[bytes]]:
    """Give the original: of an image that is still pending from the database, else from Cloudflare."""
    if isinstance(storage, AccountStorage) and storage.options.background:
        pending = open_pending(name)
        if pending is not None:
            with pending:
                if not pending.read(1):
                    raise operations.NotYetError("Cloudflare has not fetched the image from its URL yet.")
                pending.seek(0)
                yield pending
            return
    image_id = storage.image_id(name)  # type: ignore[attr-defined]  # of every AccountStorage
    with seekable(client.download(image_id)) as file:
        yield file


def _same(
    claim: Claim[Transfer], client: CloudflareImagesClient, source: Source, account: Account
) -> Image | None:
    """Return the image that has the ID if it has the same bytes; the batch host has no downloads."""
    image = look(claim, client)
    if image is None or image.draft:
        return None
    return image if _has_bytes(claim, image, source, account) else None


def _is_of_earlier_attempt(claim: Claim[Transfer], image: Image, sending: operations.Sending) -> bool:
    """Return whether it was not this attempt that has stored the image: its second is another one."""
    return claim.attempt > 1 and uploaded_of(image.metadata) != uploaded_of(sending.metadata)


def _has_bytes(claim: Claim[Transfer], image: Image, source: Source, account: Account) -> bool:
    claim.renew()
    with account.client(retry=False, max_timeout=timing.REQUEST_SECONDS).download(image.id) as download:
        return content_of(download).sha256 == source.sha256


def _private_stem(row: Transfer) -> str:
    return names.private_stem(row.source_name, max_length=CopyOptions.of(row.options).max_length)


@contextmanager
def _rewound(file: IO[bytes]) -> Iterator[IO[bytes]]:
    file.seek(0)
    yield file


@contextmanager
def _failures(what: str) -> Iterator[None]:
    """Raise ``TransferError`` for the errors of storages, of which each has its own."""
    try:
        yield
    except (CloudflareImagesError, TransferError, LeaseLostError, ImproperlyConfigured, Error):
        raise
    except Exception as error:
        raise TransferError(f"The file cannot be {what}: {wording.failure(error)}.") from error
