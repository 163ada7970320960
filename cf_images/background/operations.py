"""What one attempt does: upload an image, delete one, or fetch one for local files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Any

from django.core.files.base import File
from django.core.files.storage import Storage
from django.utils import timezone

from cf_images import images
from cf_images.background import chunks, timing
from cf_images.background.confirm import confirm, find_by_token, is_same, is_unreadable_success, look
from cf_images.background.fetch import fetch
from cf_images.background.leases import Claim
from cf_images.background.rows import database
from cf_images.client import CloudflareImagesClient, DirectUpload, Image
from cf_images.client.seekable import seekable
from cf_images.exceptions import (
    CloudflareImagesError,
    CloudflareUnavailableError,
    ImageExistsError,
    ImageNotFoundError,
    RateLimitedError,
)
from cf_images.images import ImageInfo
from cf_images.models import LeasedRow, Upload


class NotYetError(CloudflareUnavailableError):
    """Cloudflare has responded, and does not have the image now; it may have it in a moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """What is sent for a row, beside its ID; ``opened`` gives the bytes at their start."""

    opened: Callable[[], AbstractContextManager[IO[bytes]]]
    filename: str
    content_type: str
    metadata: Mapping[str, Any]
    creator: str | None
    source_url: str = ""  # of an image that Cloudflare fetches

    @classmethod
    def of(cls, row: Upload) -> Sending:
        """Return what an upload has in its row, and its bytes in the database."""
        return cls(
            opened=lambda: chunks.copy(row, using=database()),
            filename=row.filename,
            content_type=row.content_type,
            metadata=row.metadata,
            creator=row.creator or None,
            source_url=row.source_url,
        )


def upload(claim: Claim[Any], client: CloudflareImagesClient, sending: Sending) -> Image:
    """Return the image as Cloudflare has confirmed it; every other result is one of the package's errors."""
    if not claim.row.require_signed_urls:
        return _upload_public(claim, client, sending)
    if sending.source_url:
        return _upload_private_url(claim, client, sending)
    return _upload_private(claim, client, sending)


def delete(claim: Claim[Any], client: CloudflareImagesClient) -> datetime | None:
    """Delete the image at Cloudflare; return ``None`` when it is gone for good, else when to try once
    more.
    """
    if _was_never_sent(claim):
        return None
    may_still_appear, earlier_ends_at = _may_still_appear(claim), _earlier_deletion_ends_at(claim)
    image_id = _image_id(claim, client)
    was_there = bool(image_id) and not _is_anothers(claim, client) and _delete(claim, client, image_id)
    if may_still_appear and not was_there:
        return timezone.now() + timing.SECOND_DELETE
    if earlier_ends_at:
        claim.write(deletion_ends_at=earlier_ends_at)  # this one has arrived
    return earlier_ends_at


def take_back(claim: Claim[Any], client: CloudflareImagesClient, image_id: str) -> None:
    """Delete what an earlier attempt has stored, so that another one can send other bytes."""
    _delete(claim, client, image_id)
    changes: dict[str, Any] = {"remote_id": ""} if claim.row.require_signed_urls else {}
    claim.write(deletion_ends_at=None, **changes)


def fetch_for_local_files(claim: Claim[Any], storage: Storage) -> ImageInfo:
    """Fetch the image from its URL, and save it under the name of its row.

    Raise ``FetchError`` for what may pass, ``ImageRejectedError`` for what will not.
    """
    row = claim.row
    # In this package's own local storage, delete() deletes the row, too, and save() renames the file.
    delete_files: Callable[[str], None] = getattr(storage, "delete_files", storage.delete)
    save: Callable[[str, File[Any]], str] = getattr(storage, "save_exactly", storage.save)
    with fetch(row.source_url) as file:
        info = images.validate(file)
        claim.renew()
        delete_files(row.name)  # half a file, if a worker was killed while it wrote
        save(row.name, File(file, name=row.name))
    return info


def columns_of(info: ImageInfo) -> dict[str, Any]:
    """Return the columns of a row for what an image turned out to be."""
    return {
        "content_type": info.content_type,
        "size": info.size,
        "width": info.width,
        "height": info.height,
    }


def missing_columns(claim: Claim[Any], client: CloudflareImagesClient, image_id: str) -> dict[str, Any]:
    """Return the columns of an image that Cloudflare fetched from a URL, read from the head of the original.

    None where they are known already, or cannot be read.
    """
    if not claim.row.source_url:
        return {}
    claim.renew()
    try:
        with seekable(client.download(image_id)) as file:
            return columns_of(images.inspect(file))
    except CloudflareImagesError:
        return {}


# Public images: POST with the name as ID, which makes a repetition harmless.


def _upload_public(claim: Claim[Any], client: CloudflareImagesClient, sending: Sending) -> Image:
    supersedes = claim.row.deletion_ends_at is not None
    if supersedes and (image := _delete_superseded(claim, client)):
        return image
    try:
        return _post(claim, client, sending)
    except ImageExistsError:
        pass  # usually from an earlier attempt without a response
    except CloudflareUnavailableError as error:
        if not is_unreadable_success(error):
            raise
    image = look(claim, client) if supersedes else confirm(claim, client)
    if image is None or image.draft or not is_same(image, claim.row):
        raise NotYetError("Cloudflare does not confirm the image yet.", code=5409)
    return image


def _delete_superseded(claim: Claim[Any], client: CloudflareImagesClient) -> Image | None:
    """Delete the image whose name this upload takes; return that of an earlier attempt, if it is there."""
    if claim.attempt > 1:
        image = look(claim, client)
        if image is None or is_same(image, claim.row):
            return None if image is None or image.draft else image
    ends_at = claim.row.deletion_ends_at
    _delete(claim, client, claim.row.remote_id)
    claim.write(deletion_ends_at=ends_at)
    return None


def _post(claim: Claim[Any], client: CloudflareImagesClient, sending: Sending) -> Image:
    image_id, metadata, creator = claim.row.remote_id, sending.metadata, sending.creator
    if sending.source_url:
        return client.upload_url(sending.source_url, image_id=image_id, metadata=metadata, creator=creator)
    with sending.opened() as file:
        claim.renew()
        return client.upload(
            file,
            image_id=image_id,
            filename=sending.filename,
            content_type=sending.content_type,
            metadata=metadata,
            creator=creator,
        )


# Private images: Cloudflare refuses custom IDs. Reserve an ID, write it down, then fill it.


# The ID is written down, the upload URL is not: it is a secret, and another attempt can reserve another ID
# once the draft with the first is deleted.


def _upload_private(claim: Claim[Any], client: CloudflareImagesClient, sending: Sending) -> Image:
    if claim.row.remote_id and (image := _earlier_upload(claim, client)):
        return image
    return _fill(claim, client, sending, _reserve(claim, client, sending))


def _earlier_upload(claim: Claim[Any], client: CloudflareImagesClient) -> Image | None:
    """Return the image of an earlier attempt; otherwise delete its draft, so that it can never be filled."""
    image = confirm(claim, client)
    if image and not image.draft:
        return image
    if image is None and not _is_second_look(claim.row):
        # A fresh ID is "not found" at times, and a second reservation could leave a second image.
        claim.write(missing_at=claim.row.missing_at or timezone.now())
        raise NotYetError("Cloudflare does not find the reserved ID; it may not know it yet.")
    claim.renew()
    try:
        client.delete(claim.row.remote_id)
    except ImageNotFoundError:
        pass
    claim.write(remote_id="", missing_at=None)
    return None


def _is_second_look(row: LeasedRow) -> bool:
    """Return whether the ID was missing long enough ago; a person may have made the row due before that."""
    since = row.missing_at
    return since is not None and abs(timezone.now() - since) >= timing.SECOND_LOOK


def _reserve(claim: Claim[Any], client: CloudflareImagesClient, sending: Sending) -> DirectUpload:
    """Reserve an ID and write it down before a byte is sent; a lost response leaves an empty draft."""
    claim.renew()
    reserved = client.create_direct_upload(
        metadata=sending.metadata, require_signed_urls=True, creator=sending.creator
    )
    claim.write(remote_id=reserved.id, missing_at=None)
    return reserved


def _fill(
    claim: Claim[Any], client: CloudflareImagesClient, sending: Sending, reserved: DirectUpload
) -> Image:
    try:
        with sending.opened() as file:
            claim.renew()
            return client.upload_direct(
                reserved.upload_url,
                file,
                image_id=claim.row.remote_id,
                filename=sending.filename,
                content_type=sending.content_type,
            )
    except CloudflareImagesError as error:
        failure = error
    found = confirm(claim, client)
    if found and not found.draft:
        return found
    if isinstance(failure, ImageNotFoundError | ImageExistsError):
        raise CloudflareUnavailableError(failure.message, status=failure.status, code=failure.code)
    raise failure


def _upload_private_url(claim: Claim[Any], client: CloudflareImagesClient, sending: Sending) -> Image:
    """Post without an ID, since an upload URL takes only files, and find the image by its token."""
    row = claim.row
    if row.fetching_since:
        if image := find_by_token(claim, client):
            return image
        if may_be_fetching(row):
            raise NotYetError("Cloudflare may still be fetching the image from its URL.")
    claim.write(fetching_since=timezone.now())
    try:
        return client.upload_url(
            sending.source_url, metadata=sending.metadata, require_signed_urls=True, creator=sending.creator
        )
    except CloudflareImagesError as error:
        failure = error
    if isinstance(failure, RateLimitedError) or not isinstance(failure, CloudflareUnavailableError):
        claim.write(fetching_since=None)
    elif image := find_by_token(claim, client):
        return image
    raise failure


def may_be_fetching(row: Upload) -> bool:
    """Return whether Cloudflare may still be fetching the image for an earlier attempt."""
    since = row.fetching_since
    return since is not None and abs(timezone.now() - since) < timing.FETCHED_BY_CLOUDFLARE


# Deleting


def _delete(claim: Claim[Any], client: CloudflareImagesClient, image_id: str) -> bool:
    """Return whether Cloudflare had the image.

    The row says for how long the request may still be carried out, also if its response is lost: an image
    that takes the name meanwhile is not considered stored before (``outcomes.stored``).
    """
    claim.write(deletion_ends_at=timezone.now() + timing.DELETE_ARRIVES)
    try:
        client.delete(image_id)
    except ImageNotFoundError:
        return False
    return True


def _was_never_sent(claim: Claim[Any]) -> bool:
    """Return whether it was an upload (it has a token) that no worker had claimed before it was deleted."""
    row = claim.row
    return bool(row.token) and claim.attempt == 1 and row.deletion_ends_at is None


def _is_anothers(claim: Claim[Any], client: CloudflareImagesClient) -> bool:
    """Return whether another image has the ID, for which this one may have been refused.

    Asked once, and only where Cloudflare has never confirmed the image.
    """
    row: LeasedRow = claim.row
    if row.stored_at or row.deletion_ends_at or row.require_signed_urls or not row.token:
        return False
    image = look(claim, client)
    return image is not None and not is_same(image, row)


def _earlier_deletion_ends_at(claim: Claim[Any]) -> datetime | None:
    """Return until when the DELETE of another attempt may arrive, if it may.

    The row stays until then: an image that takes the name has to know.
    """
    ends_at, now = claim.row.deletion_ends_at, timezone.now()
    return min(ends_at, now + timing.DELETE_ARRIVES) if ends_at and ends_at > now else None


def _may_still_appear(claim: Claim[Any]) -> bool:
    """A fresh ID is "not found" at times, and an upload that timed out may yet be carried out."""
    row = claim.row
    return (claim.attempt > 1 or row.deletion_ends_at is not None) and row.missing_at is None


def _image_id(claim: Claim[Any], client: CloudflareImagesClient) -> str:
    row: LeasedRow = claim.row
    if row.remote_id or not (isinstance(row, Upload) and row.source_url):
        return row.remote_id
    image = find_by_token(claim, client)
    return image.id if image else ""
