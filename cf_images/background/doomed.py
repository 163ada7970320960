"""One attempt to delete an image at Cloudflare."""

from __future__ import annotations

from django.utils import timezone

from cf_images.background import timing
from cf_images.background.asking import find_by_token
from cf_images.background.claims import Claim
from cf_images.client import CloudflareImagesClient
from cf_images.exceptions import ImageNotFoundError


def delete(claim: Claim, client: CloudflareImagesClient) -> bool:
    """Whether the image is gone for good; otherwise the row asks once more, later."""
    if _was_never_sent(claim):
        return True
    image_id = _image_id(claim, client)
    try:
        if image_id:
            claim.renew()
            client.delete(image_id)
            return True
    except ImageNotFoundError:
        pass
    if not _may_still_appear(claim):
        return True
    now = timezone.now()
    claim.release(missing_at=now, next_attempt_at=now + timing.SECOND_DELETE)
    return False


def _was_never_sent(claim: Claim) -> bool:
    """An upload of ours (it has a token) that no worker had touched before it was deleted."""
    return bool(claim.upload.token) and claim.attempt == 1


def _may_still_appear(claim: Claim) -> bool:
    """A fresh ID is "not found" at times, and an upload that timed out may yet be carried out."""
    return claim.attempt > 1 and claim.upload.missing_at is None


def _image_id(claim: Claim, client: CloudflareImagesClient) -> str:
    row = claim.upload
    if row.remote_id or not row.source_url:
        return row.remote_id
    image = find_by_token(claim, client)
    return image.id if image else ""
