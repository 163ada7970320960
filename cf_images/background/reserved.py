"""Delete what a browser has uploaded and no form has saved."""

from __future__ import annotations

import logging
from datetime import datetime

from django.utils import timezone

from cf_images.background import timing
from cf_images.background.confirm import is_same, look
from cf_images.background.leases import Claim
from cf_images.client import CloudflareImagesClient
from cf_images.exceptions import ImageNotFoundError
from cf_images.models import Reservation, State

logger = logging.getLogger("cf_images.background")


def begin_deletion(claim: Claim[Reservation]) -> bool:
    """Close the reservation, so that no form can save it any more; return whether it has expired.

    Saving takes one conditional UPDATE from the same state: whichever comes first wins.
    """
    row = claim.row
    if row.state == State.DELETING:
        return True
    if row.expires_at > timezone.now():  # a person, or a clock that was set back, has made it due
        claim.release(next_attempt_at=row.expires_at + timing.BROWSER_UPLOAD_ARRIVES)
        return False
    claim.write(state=State.DELETING)
    return True


def delete(claim: Claim[Reservation], client: CloudflareImagesClient) -> datetime | None:
    """Delete the image or the draft at Cloudflare, once it has said that it is the reserved one.

    Return ``None`` when it is gone for good, else when to try once more: a browser may still be sending it.
    """
    row = claim.row
    image = look(claim, client)
    if image is None and row.missing_at is None:  # a fresh ID is "not found" at times
        return max(row.expires_at + timing.BROWSER_UPLOAD_ARRIVES, timezone.now() + timing.SECOND_DELETE)
    if image is not None and not (image.draft or is_same(image, row)):
        logger.error("Cloudflare has another image with the ID %s of %s; it stays.", row.remote_id, row)
        return None
    if image is not None:
        claim.renew()
        try:
            client.delete(row.remote_id)
        except ImageNotFoundError:
            pass
    return once_more_at(row)


def once_more_at(row: Reservation) -> datetime | None:
    """Return when nothing can arrive any more, if that is not now."""
    arrives_until = row.expires_at + timing.BROWSER_UPLOAD_ARRIVES
    return arrives_until if arrives_until > timezone.now() else None
