"""Which worker works on a row: one conditional ``UPDATE`` claims it, and a lease fences all that it
writes.
"""

from __future__ import annotations

import random
import secrets
from datetime import datetime, timedelta
from typing import Any

from django.db.models import F, QuerySet
from django.utils import timezone

from cf_images import conf
from cf_images.background import chunks, page_rows, timing
from cf_images.background.destinations import Destination, destinations
from cf_images.background.rows import uploads
from cf_images.models import Upload

# Read at once, and used up by the threads of a process: so many that processes seldom try the same row.
_CANDIDATES = 100
_CANDIDATES_FRESH = timedelta(seconds=1)


class LeaseLostError(Exception):
    """Another worker has the row by now, or it is gone; whoever catches this writes nothing more."""


class Claim:
    """The right to work on ``upload`` until the lease expires; each write renews it."""

    def __init__(self, upload: Upload) -> None:
        self.upload = upload
        self.attempt = upload.attempts
        self._ends_at = upload.next_attempt_at or timezone.now()

    @property
    def rows(self) -> QuerySet[Upload]:
        """The row while the claim holds, else no row."""
        return uploads().filter(pk=self.upload.pk, lease=self.upload.lease)

    def write(self, **fields: Any) -> None:
        """Write and renew the lease; raise ``LeaseLostError`` when the claim does not hold any more."""
        ends_at = timezone.now() + timing.LEASE
        if not self.rows.update(next_attempt_at=ends_at, **fields):
            raise LeaseLostError(self.upload.name)
        self._ends_at = ends_at
        for field, value in fields.items():
            setattr(self.upload, field, value)

    def renew(self) -> None:
        """Make the lease last for a request; it may do so already."""
        left = self._ends_at - timezone.now()
        # More than a whole lease: the clock was set back.
        if not timing.LEASE - timing.LEASE_FRESH <= left <= timing.LEASE:
            self.write()

    def release(self, **fields: Any) -> None:
        """Give the row back, and write ``fields``; without ``next_attempt_at`` it is due now."""
        fields.setdefault("next_attempt_at", timezone.now())
        if not self.rows.update(lease="", **fields):
            raise LeaseLostError(self.upload.name)


def due(destination: Destination, now: datetime | None = None) -> QuerySet[Upload]:
    """Return the rows that a worker may claim, those that are due for longest first."""
    rows = destination.rows().filter(next_attempt_at__lte=now or timezone.now())
    return rows.order_by("next_attempt_at")


def candidates(destination: Destination, hint: int | None = None) -> list[int]:
    """Return rows to try to claim, in random order so that workers do not compete for the same one."""
    rows = due(destination).values_list("pk", flat=True)
    found = list(rows.filter(pk=hint) if hint else rows[:_CANDIDATES])
    random.shuffle(found)
    return found


def next_candidate(destination: Destination, hint: int | None = None) -> int | None:
    """Return a row to try to claim, ``hint`` or one that this process has found a moment ago; ``None`` when
    none is due.
    """
    if hint is not None:
        return next(iter(candidates(destination, hint)), None)
    now = timezone.now()
    read_at, pks = _candidates().get(destination.account_key, (now, []))
    if abs(now - read_at) < _CANDIDATES_FRESH:
        try:
            return pks.pop()
        except IndexError:  # used up, perhaps by another thread
            pass
    pks = candidates(destination)
    first = pks.pop() if pks else None
    _candidates()[destination.account_key] = now, pks  # from now on, other threads take theirs from it
    return first


@conf.cached
def _candidates() -> dict[str, tuple[datetime, list[int]]]:
    """When candidates were read, and those that are left, by account."""
    return {}


def claim(pk: int) -> Claim | None:
    """Claim the row; ``None`` if another worker was faster, it is not due, or it is gone."""
    page_rows.clear()  # of a request that works itself, as with huey in immediate mode
    now, lease = timezone.now(), secrets.token_hex(16)
    taken = (
        uploads()
        .filter(pk=pk, next_attempt_at__lte=now)
        .update(lease=lease, next_attempt_at=now + timing.LEASE, attempts=F("attempts") + 1)
    )
    # With the first chunk of its bytes: most images have no other.
    upload = chunks.with_first(uploads()).filter(pk=pk, lease=lease).first() if taken else None
    return Claim(upload) if upload else None


def fix_wrong_times() -> int:
    """Make rows due whose time is too far away to be right: the clock was set back. Return their number.

    No pause is longer than ``MAX_PAUSE``, and new rows are due ``MAX_PAUSE`` before they were made.
    """
    now, fixed = timezone.now(), 0
    for destination in destinations():
        wrong = destination.rows(after=now + timing.MAX_PAUSE + timing.CLOCK_SKEW)
        fixed += wrong.update(next_attempt_at=now)
    return fixed
