"""Which worker works on a row: one conditional ``UPDATE`` claims it, and a lease fences all that it
writes.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db.models import F, Q, QuerySet
from django.utils import timezone

from cf_images.background import timing
from cf_images.background.rows import unfinished, uploads
from cf_images.models import Upload

_CANDIDATES = 20


class LeaseLostError(Exception):
    """Another worker has the row by now, or it is gone; whoever catches this writes nothing more."""


class Claim:
    """The right to work on ``upload`` until the lease expires; each write renews it."""

    def __init__(self, upload: Upload) -> None:
        self.upload = upload
        self.attempt = upload.attempts

    @property
    def rows(self) -> QuerySet[Upload]:
        """The row while the claim holds, else no row."""
        return uploads().filter(pk=self.upload.pk, lease=self.upload.lease)

    def write(self, **fields: Any) -> None:
        """Write and renew the lease; raise ``LeaseLostError`` when the claim does not hold any more."""
        if not self.rows.update(leased_until=timezone.now() + timing.LEASE, **fields):
            raise LeaseLostError(self.upload.name)
        for field, value in fields.items():
            setattr(self.upload, field, value)

    renew = write

    def release(self, **fields: Any) -> None:
        """Give the row back, and write ``fields``."""
        if not self.rows.update(lease="", leased_until=None, **fields):
            raise LeaseLostError(self.upload.name)


def due(now: datetime | None = None) -> QuerySet[Upload]:
    """Return the rows that a worker may claim, those that are due for longest first."""
    now = now or timezone.now()
    return unfinished().filter(_is_due(now), _is_free(now)).order_by("next_attempt_at")


def candidates(aliases: Iterable[str], hint: int | None = None) -> list[Upload]:
    """Return rows to try to claim, in random order so that workers do not compete for the same one."""
    rows = due().filter(storage__in=list(aliases)).only("pk", "storage")
    found = list(rows.filter(pk=hint) if hint else rows[:_CANDIDATES])
    random.shuffle(found)
    return found


def claim(pk: int) -> Claim | None:
    """Claim the row; ``None`` if another worker was faster, it is not due, or it is gone."""
    now, lease = timezone.now(), secrets.token_hex(16)
    taken = (
        unfinished()
        .filter(_is_due(now), _is_free(now), pk=pk)
        .update(lease=lease, leased_until=now + timing.LEASE, attempts=F("attempts") + 1)
    )
    upload = uploads().filter(pk=pk, lease=lease).first() if taken else None
    return Claim(upload) if upload else None


def _is_due(now: datetime) -> Q:
    # No pause is longer than this, and there is none before the first attempt: the clock was set back.
    is_wrong = Q(attempts=0) | Q(next_attempt_at__gt=now + timing.MAX_PAUSE)
    return Q(next_attempt_at__lte=now) | is_wrong


def _is_free(now: datetime) -> Q:
    # No lease is that long: the clock was set back, and its worker may have been killed.
    is_wrong = Q(leased_until__gt=now + timing.LEASE + timing.CLOCK_SKEW)
    return Q(lease="") | Q(leased_until__lte=now) | is_wrong
