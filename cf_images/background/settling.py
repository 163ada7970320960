"""What a worker writes when it knows: stored, rejected, gone, or later. All of it under the fence."""

from __future__ import annotations

import logging
from datetime import timedelta
from functools import partial
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.utils import timezone

from cf_images.background import pieces, timing
from cf_images.background.bell import ring
from cf_images.background.claims import Claim
from cf_images.background.database import database
from cf_images.background.fetching import FetchError
from cf_images.exceptions import CloudflareImagesError
from cf_images.models import MAX_ERROR_LENGTH, State, Upload
from cf_images.signals import image_rejected, image_stored

logger = logging.getLogger("cf_images.background")

_REFUSALS = 5  # of an unknown kind; one more, and the image is rejected
_FREE = {"lease": "", "leased_until": None}


def stored(claim: Claim, *, remote_id: str, **facts: Any) -> None:
    """Cloudflare has it: the bytes here are given up in the same transaction.

    ``facts`` are columns learned meanwhile (``size``, ``width``, ``height``).
    """
    row, using = claim.upload, database()
    with transaction.atomic(using=using):
        moved = claim.rows.filter(state=State.PENDING).update(
            state=State.STORED,
            remote_id=remote_id,
            stored_at=timezone.now(),
            upload_url="",
            last_code=None,
            last_error="",
            **facts,
            **_FREE,
        )
        if moved:
            pieces.forget(row.pk)
            row.state, row.remote_id = State.STORED, remote_id
            for column, value in facts.items():
                setattr(row, column, value)
            transaction.on_commit(partial(_tell_stored, row), using=using, robust=True)
            return
    # It was deleted meanwhile: now that Cloudflare has it, it can be deleted there.
    claim.release(remote_id=remote_id)
    ring(row.pk)


def rejected(claim: Claim, error: CloudflareImagesError) -> None:
    """It will never be taken. The bytes are kept until somebody says so."""
    row, using = claim.upload, database()
    with transaction.atomic(using=using):
        fields = _evidence(error)
        if not claim.rows.filter(state=State.PENDING).update(state=State.REJECTED, **fields, **_FREE):
            later(claim, error)  # deleted meanwhile, and the deletion may have been refused
            return
        row.state = State.REJECTED
        logger.error("Cloudflare rejects the image %s: %s", row.name, fields["last_error"])
        transaction.on_commit(partial(_tell_rejected, row, fields["last_error"]), using=using, robust=True)


def refused(claim: Claim, error: CloudflareImagesError) -> None:
    """A refusal of a kind that we do not know: try a few more times, then believe it."""
    if claim.upload.refusals >= _REFUSALS and claim.upload.state == State.PENDING:
        rejected(claim, error)
        return
    later(claim, error, refusals=claim.upload.refusals + 1)


def later(claim: Claim, error: Exception, *, at_least: timedelta = timedelta(0), **fields: Any) -> None:
    """Try again after a pause that grows with the attempts, without end."""
    pause = max(timing.pause(claim.attempt), at_least)
    claim.release(next_attempt_at=timezone.now() + pause, **_evidence(error), **fields)


def postponed(claim: Claim, error: Exception) -> None:
    """Nothing was done, and not for this image's sake: as soon as the gate opens."""
    claim.release(next_attempt_at=timezone.now(), **_evidence(error))


def gone(claim: Claim) -> None:
    """The image is deleted everywhere: so is the row."""
    claim.rows.delete()


def _evidence(error: Exception) -> dict[str, Any]:
    """What the row says of the failure; of errors that are not ours only the kind, they may hold secrets."""
    if isinstance(error, CloudflareImagesError):
        return {"last_code": error.code or error.status, "last_error": error.message[:MAX_ERROR_LENGTH]}
    ours = isinstance(error, ImproperlyConfigured | FetchError)
    return {
        "last_code": None,
        "last_error": (str(error) if ours else type(error).__name__)[:MAX_ERROR_LENGTH],
    }


def _tell_stored(row: Upload) -> None:
    image_stored.send_robust(
        sender=Upload,
        name=row.name,
        storage=row.storage,
        size=row.size,
        width=row.width,
        height=row.height,
    )


def _tell_rejected(row: Upload, reason: str) -> None:
    image_rejected.send_robust(sender=Upload, name=row.name, storage=row.storage, reason=reason)
