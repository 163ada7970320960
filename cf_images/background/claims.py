"""Who works on a row: one conditional ``UPDATE`` takes it, a lease fences all that is written then."""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db.models import F, Q, QuerySet
from django.utils import timezone

from cf_images.background import timing
from cf_images.background.database import uploads
from cf_images.models import MOVING, State, Upload

_CANDIDATES = 20


class LeaseLostError(Exception):
    """Another worker has the row by now, or it is gone; whoever catches this writes nothing more."""


class Claim:
    """The right to work on ``upload`` until the lease is over; each write renews it."""

    def __init__(self, upload: Upload, attempt: int) -> None:
        self.upload = upload
        self.attempt = attempt

    @property
    def rows(self) -> QuerySet[Upload]:
        """The row while it is ours, else no row."""
        return uploads().filter(pk=self.upload.pk, lease=self.upload.lease)

    def write(self, **fields: Any) -> None:
        """Write under the fence; raises ``LeaseLostError`` when the row is no longer ours."""
        if not self.rows.update(leased_until=timezone.now() + timing.LEASE, **fields):
            raise LeaseLostError(self.upload.name)
        for field, value in fields.items():
            setattr(self.upload, field, value)

    renew = write

    def release(self, **fields: Any) -> None:
        """Give the row back, with what is known by now."""
        if not self.rows.update(lease="", leased_until=None, **fields):
            raise LeaseLostError(self.upload.name)


def due(now: datetime | None = None) -> QuerySet[Upload]:
    """The rows that a worker may take, the longest waiting first."""
    now = now or timezone.now()
    return uploads().filter(_is_due(now), _is_free(now), state__in=MOVING).order_by("next_attempt_at")


def candidates(aliases: Iterable[str], hint: int | None = None) -> list[Upload]:
    """Rows to try to claim, in random order so that workers do not fight for the same one."""
    rows = due().filter(storage__in=list(aliases)).only("pk", "storage")
    found = list(rows.filter(pk=hint) if hint else rows[:_CANDIDATES])
    random.shuffle(found)
    return found


def claim(pk: int) -> Claim | None:
    """Take the row, or ``None``: somebody was faster, it is not due, or it is gone."""
    now, lease = timezone.now(), secrets.token_hex(16)
    taken = (
        uploads()
        .filter(_is_due(now), _is_free(now), pk=pk, state__in=MOVING)
        .update(lease=lease, leased_until=now + timing.LEASE, attempts=F("attempts") + 1)
    )
    upload = uploads().filter(pk=pk, lease=lease).first() if taken else None
    return Claim(upload, upload.attempts) if upload else None


def _is_due(now: datetime) -> Q:
    # Nothing is ever put off for longer than this, and nothing at all before its first attempt: the clock
    # was set back, and waiting would be wrong.
    absurd = Q(attempts=0) | Q(next_attempt_at__gt=now + timing.LONGEST_PAUSE)
    return Q(next_attempt_at__lte=now) | absurd


def _is_free(now: datetime) -> Q:
    # No lease lasts so long: the clock was set back, and its worker may have been killed.
    absurd = now + timing.LEASE + timing.CLOCK_SKEW
    return Q(lease="") | Q(leased_until__lte=now) | Q(leased_until__gt=absurd)


def is_pending(claim: Claim) -> bool:
    """Whether the row that we hold is still an upload: it may have been deleted meanwhile."""
    return claim.rows.filter(state=State.PENDING).exists()
