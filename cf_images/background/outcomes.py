"""What a worker writes when an attempt has ended; all of it only while its claim holds."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.utils import timezone

from cf_images.background import activity, chunks, timing
from cf_images.background.fetch import FetchError
from cf_images.background.leases import Claim
from cf_images.background.rows import database
from cf_images.exceptions import CloudflareImagesError
from cf_images.models import MAX_ERROR_LENGTH, State, Upload
from cf_images.signals import image_rejected, image_stored

logger = logging.getLogger("cf_images.background")

_MAX_UNKNOWN_ERRORS = 5  # one more, and the image is rejected
_FINISHED = {"lease": "", "next_attempt_at": None}


def stored(claim: Claim, *, remote_id: str, **columns: Any) -> None:
    """Cloudflare has the image: delete the bytes here in the same transaction.

    While a DELETE of the image that had its name may still arrive, the bytes stay, and the next attempt looks
    whether the image is still there.

    ``columns`` are what was found out about it (``size``, ``width``, ``height``). If the image was deleted
    here meanwhile, its row is due now, and the next attempt deletes it at Cloudflare.
    """
    row, using = claim.upload, database()
    with transaction.atomic(using=using):
        if _looks_again(claim):
            return
        moved = claim.rows.filter(state=State.PENDING).update(
            state=State.STORED,
            remote_id=remote_id,
            stored_at=timezone.now(),
            last_code=None,
            last_error="",
            **columns,
            **_FINISHED,
        )
        if moved:
            chunks.delete(row.pk, using=using)
            row.state, row.remote_id = State.STORED, remote_id
            for column, value in columns.items():
                setattr(row, column, value)
            transaction.on_commit(partial(_send_stored, row), using=using, robust=True)
            return
    claim.release(remote_id=remote_id)


def _looks_again(claim: Claim) -> bool:
    ends_at, now = claim.upload.deletion_ends_at, timezone.now()
    if ends_at is None or ends_at <= now:
        return False
    ends_at = min(ends_at, now + timing.DELETE_ARRIVES)  # further away: the clock was set back
    pending = claim.rows.filter(state=State.PENDING)
    looks_at = {"next_attempt_at": ends_at, "deletion_ends_at": ends_at}
    return bool(pending.update(lease="", last_code=None, last_error="", **looks_at))


def rejected(claim: Claim, error: CloudflareImagesError) -> None:
    """Cloudflare will never accept it: keep the bytes until a person decides."""
    row, using = claim.upload, database()
    with transaction.atomic(using=using):
        evidence = _evidence(error)
        if not claim.rows.filter(state=State.PENDING).update(state=State.REJECTED, **evidence, **_FINISHED):
            retry_later(claim, error)  # deleted meanwhile, and the deletion may have been refused
            return
        row.state = State.REJECTED
        logger.error("Cloudflare rejects the image %s: %s", row.name, evidence["last_error"])
        transaction.on_commit(partial(_send_rejected, row, evidence["last_error"]), using=using, robust=True)


def unknown_error(claim: Claim, error: CloudflareImagesError) -> None:
    """An error of an unknown kind: try a few more times, then reject the image."""
    if claim.upload.unknown_errors >= _MAX_UNKNOWN_ERRORS and claim.upload.state == State.PENDING:
        rejected(claim, error)
        return
    retry_later(claim, error, unknown_errors=claim.upload.unknown_errors + 1)


def retry_later(claim: Claim, error: Exception, *, at_least: timedelta = timedelta(0), **fields: Any) -> None:
    """Try again after a pause that grows with the attempts, without end."""
    pause = max(timing.pause(claim.attempt), at_least)
    evidence = _evidence(error)
    claim.release(next_attempt_at=timezone.now() + pause, **evidence, **fields)
    activity.failed(claim.upload.name, evidence["last_error"])


def retry_when_resumed(claim: Claim, error: Exception) -> None:
    """Nothing was done, for a reason outside of the image: try again as soon as the account is not paused."""
    evidence = _evidence(error)
    claim.release(next_attempt_at=timezone.now(), **evidence)
    activity.failed(claim.upload.name, evidence["last_error"])


def delete_once_more(claim: Claim, *, at: datetime) -> None:
    """Cloudflare does not have the image now, and may have it later: delete it once more."""
    claim.release(missing_at=timezone.now(), next_attempt_at=at)


def deleted(claim: Claim) -> None:
    """The image is deleted everywhere: delete the row."""
    if claim.rows.delete()[0]:
        activity.count("deleted")


def _evidence(error: Exception) -> dict[str, Any]:
    """Return what the row says about a failure; only the kind of a foreign error, which may hold secrets."""
    if isinstance(error, CloudflareImagesError):
        return {"last_code": error.code or error.status, "last_error": error.message[:MAX_ERROR_LENGTH]}
    is_safe = isinstance(error, ImproperlyConfigured | FetchError)
    return {
        "last_code": None,
        "last_error": (str(error) if is_safe else type(error).__name__)[:MAX_ERROR_LENGTH],
    }


def _send_stored(row: Upload) -> None:
    activity.count("stored")
    image_stored.send_robust(
        sender=Upload,
        name=row.name,
        storage=row.storage,
        size=row.size,
        width=row.width,
        height=row.height,
    )


def _send_rejected(row: Upload, reason: str) -> None:
    activity.count("rejected")
    image_rejected.send_robust(sender=Upload, name=row.name, storage=row.storage, reason=reason)
