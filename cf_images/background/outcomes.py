"""What a worker writes when an attempt has ended; all of it only while its claim holds."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connections, transaction
from django.db.models import QuerySet
from django.utils import timezone

from cf_images.background import activity, chunks, timing
from cf_images.background.fetch import FetchError
from cf_images.background.leases import Claim, LeaseLostError
from cf_images.background.rows import database, transfers, uploads
from cf_images.exceptions import CloudflareImagesError
from cf_images.models import MAX_ERROR_LENGTH, State, Transfer, Upload
from cf_images.signals import image_rejected, image_stored

logger = logging.getLogger("cf_images.background")

_MAX_UNKNOWN_ERRORS = 5  # one more, and the image is rejected
_FINISHED = {"lease": "", "next_attempt_at": None}


@dataclass(frozen=True, slots=True)
class Stored:
    """An image that Cloudflare has; ``columns`` are what was found out about it (``size``, ``width`` …)."""

    claim: Claim[Any]
    remote_id: str
    columns: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_plain(self) -> bool:
        """Whether the row says all of it already."""
        row = self.claim.row
        is_upload = isinstance(row, Upload) and not self.columns and self.remote_id == row.remote_id
        return is_upload and row.deletion_ends_at is None

    @property
    def is_transfer(self) -> bool:
        """Whether it is a file that was copied, and no deletion of its name may still arrive."""
        return isinstance(self.claim.row, Transfer) and self.claim.row.deletion_ends_at is None


def all_stored(images: Sequence[Stored]) -> None:
    """Write down what was stored, in one transaction as far as possible.

    It waits for no row: a visitor's transaction that has locked one could wait for another of these.
    """
    done: set[int] = set()
    plain = {image.claim.row.pk: image for image in images if image.is_plain}
    copied = {image.claim.row.pk: image for image in images if image.is_transfer}
    for together in (plain, copied):
        if len(together) > 1:
            done |= _stored_together(together)
    for image in images:
        if image.claim.row.pk not in done:
            try:
                stored(image)
            except LeaseLostError:
                logger.info("Another worker has taken over %s.", image.claim.row)


def _stored_together(images: Mapping[int, Stored]) -> set[int]:
    """Return the keys of the rows that were written; all of them are of one table, and have one lease."""
    using, row = database(), next(iter(images.values())).claim.row
    table = uploads() if isinstance(row, Upload) else transfers()
    rows = table.filter(pk__in=images, lease=row.lease, state=State.PENDING)
    try:
        with transaction.atomic(using=using):
            pks = _unlocked(rows, images)
            if not pks or rows.filter(pk__in=pks).update(**_stored_columns()) != len(pks):
                transaction.set_rollback(True, using=using)  # each by itself will say which
                return set()
            if isinstance(row, Upload):
                chunks.delete(pks, using=using)
            else:
                _write_columns(images[pk] for pk in pks)
            for pk in pks:
                images[pk].claim.row.state = State.STORED
                transaction.on_commit(partial(_count_stored, images[pk].claim.row), using=using, robust=True)
    except DatabaseError:
        return set()  # each by itself will say which
    return pks


def _write_columns(images: Iterable[Stored]) -> None:
    """Write what differs between files whose rows this transaction has changed already."""
    written, columns = [], set[str]()
    for image in images:
        row, found = copy(image.claim.row), {"remote_id": image.remote_id, **image.columns}
        for column, value in found.items():
            setattr(row, column, value)
        written.append(row)
        columns.update(found)
    # The rows are there, and locked: this updates them, in little more than half the time of an UPDATE for
    # each. bulk_update() would take longer than these.
    has_target = connections[database()].features.supports_update_conflicts_with_target
    transfers().bulk_create(
        written,
        update_conflicts=True,
        unique_fields=["pk"] if has_target else None,
        update_fields=sorted(columns),
    )


def _unlocked(rows: QuerySet[Any], images: Mapping[int, Stored]) -> set[int]:
    """Lock the rows, but for those that another transaction has locked; return their keys."""
    if connections[rows.db].features.has_select_for_update_skip_locked:
        return set(rows.select_for_update(skip_locked=True).values_list("pk", flat=True))
    return set(images)


def _stored_columns() -> dict[str, Any]:
    stored_at = timezone.now()
    return {"state": State.STORED, "stored_at": stored_at, "last_code": None, "last_error": "", **_FINISHED}


def stored(image: Stored) -> None:
    """Cloudflare has the image: delete the bytes here in the same transaction.

    While a DELETE of the image that had its name may still arrive, the bytes stay, and the next attempt looks
    whether the image is still there. If the image was deleted here meanwhile, its row is due now, and the
    next attempt deletes it at Cloudflare.
    """
    claim, columns = image.claim, {"remote_id": image.remote_id, **image.columns}
    row, using = claim.row, database()
    with transaction.atomic(using=using):
        if _looks_again(claim):
            return
        moved = claim.rows.filter(state=State.PENDING).update(**columns, **_stored_columns())
        if moved:
            row.state = State.STORED
            for column, value in columns.items():
                setattr(row, column, value)
            if isinstance(row, Upload):
                chunks.delete([row.pk], using=using)
            transaction.on_commit(partial(_count_stored, row), using=using, robust=True)
            return
    claim.release(remote_id=image.remote_id)


def _looks_again(claim: Claim[Any]) -> bool:
    ends_at, now = claim.row.deletion_ends_at, timezone.now()
    if ends_at is None or ends_at <= now:
        return False
    ends_at = min(ends_at, now + timing.DELETE_ARRIVES)  # further away: the clock was set back
    pending = claim.rows.filter(state=State.PENDING)
    looks_at = {"next_attempt_at": ends_at, "deletion_ends_at": ends_at}
    return bool(pending.update(lease="", last_code=None, last_error="", **looks_at))


def rejected(claim: Claim[Any], error: Exception) -> None:
    """Cloudflare will never accept it: keep the bytes until a person decides."""
    row, using = claim.row, database()
    with transaction.atomic(using=using):
        evidence = _evidence(error)
        if not claim.rows.filter(state=State.PENDING).update(state=State.REJECTED, **evidence, **_FINISHED):
            retry_later(claim, error)  # deleted meanwhile, and the deletion may have been refused
            return
        row.state = State.REJECTED
        if isinstance(row, Upload):
            logger.error("Cloudflare rejects the image %s: %s", row.name, evidence["last_error"])
            reason = evidence["last_error"]
            transaction.on_commit(partial(_send_rejected, row, reason), using=using, robust=True)
        else:
            transaction.on_commit(partial(activity.count, "rejected"), using=using, robust=True)


def unknown_error(claim: Claim[Any], error: Exception) -> None:
    """An error of an unknown kind: try a few more times, then reject the image."""
    if claim.row.unknown_errors >= _MAX_UNKNOWN_ERRORS and claim.row.state == State.PENDING:
        rejected(claim, error)
        return
    retry_later(claim, error, unknown_errors=claim.row.unknown_errors + 1)


def retry_later(
    claim: Claim[Any], error: Exception, *, at_least: timedelta = timedelta(0), **fields: Any
) -> None:
    """Try again after a pause that grows with the attempts, without end."""
    pause = max(timing.pause(claim.attempt), at_least)
    evidence = _evidence(error)
    claim.release(next_attempt_at=timezone.now() + pause, **evidence, **fields)
    activity.failed(str(claim.row), evidence["last_error"])


def retry_when_resumed(claim: Claim[Any], error: Exception) -> None:
    """Nothing was done, for a reason outside of the image: try again as soon as the account is not paused.

    It makes no later pause longer. Another request of the attempt may have been sent: the next attempt is not
    the first.
    """
    evidence = _evidence(error)
    claim.release(next_attempt_at=timezone.now(), attempts=max(1, claim.attempt - 1), **evidence)
    activity.failed(str(claim.row), evidence["last_error"])


def delete_once_more(claim: Claim[Any], *, at: datetime) -> None:
    """Cloudflare does not have the image now, and may have it later: delete it once more."""
    claim.release(missing_at=timezone.now(), next_attempt_at=at)


def deleted(claim: Claim[Any]) -> None:
    """The image is deleted everywhere: delete the row. That of a transfer stays, and so does its name."""
    if isinstance(claim.row, Transfer):
        is_done = bool(claim.rows.update(state=State.DELETED, last_code=None, last_error="", **_FINISHED))
    else:
        is_done = bool(claim.rows.delete()[0])
    if is_done:
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


def _count_stored(row: Upload | Transfer) -> None:
    activity.count("stored")
    if isinstance(row, Transfer):
        return
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
