"""One attempt to upload a private image: Cloudflare refuses our own IDs for these.

From bytes: reserve an ID, write it down, fill it. From a URL: an upload URL takes only files, so the image
is posted without an ID and found again by the token in its metadata.
"""

from __future__ import annotations

from django.utils import timezone

from cf_images.background import pieces, timing
from cf_images.background.asking import find_by_token, look
from cf_images.background.claims import Claim
from cf_images.client import CloudflareImagesClient, Image
from cf_images.exceptions import (
    CloudflareImagesError,
    CloudflareUnavailableError,
    ImageExistsError,
    ImageNotFoundError,
)


def upload(claim: Claim, client: CloudflareImagesClient) -> Image:
    """The image as Cloudflare has confirmed it; every other answer is one of the package's errors."""
    if claim.upload.source_url:
        return _fetched(claim, client)
    if claim.upload.remote_id and _is_over(claim):
        image = look(claim, client)
        if image and not image.draft:
            return image
        _forget(claim)
    if not claim.upload.remote_id:
        _reserve(claim, client)
    return _filled(claim, client)


def _fetched(claim: Claim, client: CloudflareImagesClient) -> Image:
    row = claim.upload
    if claim.attempt > 1 and (image := find_by_token(claim, client)):
        return image
    try:
        return client.upload_url(
            row.source_url, metadata=row.metadata, require_signed_urls=True, creator=row.creator or None
        )
    except CloudflareUnavailableError:
        image = find_by_token(claim, client)
        if image is None:
            raise
        return image


def _is_over(claim: Claim) -> bool:
    expires_at = claim.upload.upload_url_expires_at
    return expires_at is None or expires_at - timing.RESERVATION_MARGIN <= timezone.now()


def _reserve(claim: Claim, client: CloudflareImagesClient) -> None:
    """Reserve an ID and write it down before a byte is sent; a lost answer leaves an empty draft."""
    row = claim.upload
    expires_at = timezone.now() + timing.RESERVATION
    reserved = client.create_direct_upload(
        metadata=row.metadata, require_signed_urls=True, creator=row.creator or None, expires_at=expires_at
    )
    claim.write(remote_id=reserved.id, upload_url=reserved.upload_url, upload_url_expires_at=expires_at)


def _forget(claim: Claim) -> None:
    claim.write(remote_id="", upload_url="", upload_url_expires_at=None)


def _filled(claim: Claim, client: CloudflareImagesClient) -> Image:
    row = claim.upload
    try:
        with pieces.copy(row) as file:
            claim.renew()
            image = client.upload_direct(
                row.upload_url, file, filename=row.filename, content_type=row.content_type
            )
        if image.id == row.remote_id:
            return image
        failure: CloudflareImagesError = CloudflareUnavailableError("Cloudflare confirms another image.")
    except CloudflareImagesError as error:
        failure = error
    image_there = look(claim, client)
    if image_there and not image_there.draft:
        return image_there
    if image_there is None and isinstance(failure, ImageNotFoundError):
        # Both say so. One alone may be the flapping of a fresh ID, and a second reservation would
        # leave a second image.
        _forget(claim)
    if isinstance(failure, ImageNotFoundError | ImageExistsError):
        raise CloudflareUnavailableError(failure.message, status=failure.status, code=failure.code)
    raise failure
