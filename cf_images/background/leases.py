"""Which worker works on a row: one conditional ``UPDATE`` claims it, and a lease fences all that it
writes.
"""

from __future__ import annotations

import logging
import random
import secrets
import threading
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from django.db import connections, transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from cf_images import conf
from cf_images.background import chunks, page_rows, timing
from cf_images.background.destinations import Destination, destinations
from cf_images.background.rows import database, reservations, transfers, uploads
from cf_images.models import LeasedRow, Reservation, Transfer, Upload

logger = logging.getLogger("cf_images.background")

Row = TypeVar("Row", bound=LeasedRow, covariant=True)

# Read at once, and used up by the threads of a process: so many that processes seldom try the same row.
_CANDIDATES = 100
_CANDIDATES_EACH = 24  # where the number of threads is known
_CANDIDATES_FRESH = timedelta(seconds=1)
_NO_HURRY = timedelta(seconds=5)  # what was never saved may stay for so long
_TRIES = 10  # a row that a visitor's long transaction has locked is due, and cannot be claimed
_SHARE = 8  # one thread claims at most one in so many of the rows that are due: others work, too


class LeaseLostError(Exception):
    """Another worker has the row by now, or it is gone; whoever catches this writes nothing more."""


class Claim(Generic[Row]):
    """The right to work on ``row`` until the lease expires; each write renews it."""

    def __init__(self, row: Row) -> None:
        self.row = row
        self.attempt = row.attempts
        self._ends_at = row.next_attempt_at or timezone.now()

    @property
    def rows(self) -> QuerySet[Any]:
        """The row while the claim holds, else no row."""
        return _all(type(self.row)).filter(pk=self.row.pk, lease=self.row.lease)

    def write(self, **fields: Any) -> None:
        """Write and renew the lease; raise ``LeaseLostError`` when the claim does not hold any more."""
        ends_at = timezone.now() + timing.LEASE
        if not self.rows.update(next_attempt_at=ends_at, **fields):
            raise LeaseLostError(str(self.row))
        self._ends_at = ends_at
        for field, value in fields.items():
            setattr(self.row, field, value)

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
            raise LeaseLostError(str(self.row))


def due(destination: Destination) -> tuple[QuerySet[Any], ...]:
    """Return the rows of each table that a worker may claim, those that are due for longest first."""
    is_due = Q(next_attempt_at__lte=timezone.now())
    rows: tuple[QuerySet[Any], ...] = (
        destination.rows(),
        destination.transfers(),
        destination.reservations(),
    )
    return tuple(found.filter(is_due).order_by("next_attempt_at") for found in rows)


class Backlog:
    """The rows of one model that the threads of this process take from.

    Candidates are read for all of them at once, and in random order, so that processes do not compete for
    the same rows. ``threads`` is how many take from them, if that is known. A backlog that was empty is not
    read again before ``patience`` is over.
    """

    def __init__(
        self, rows: Callable[[], QuerySet[Any]], *, threads: int = 0, patience: timedelta = timedelta(0)
    ) -> None:
        self._rows = rows
        self._patience = patience
        self._share = max(_SHARE, 2 * threads)
        self._most = max(_CANDIDATES, _CANDIDATES_EACH * threads)
        self._lock = threading.Lock()
        self._pks: list[int] = []
        self._found = 0  # candidates when they were read last
        self._read_at: datetime | None = None

    def has_candidates(self) -> bool:
        """Return whether rows are due, as far as this process has found a moment ago."""
        with self._lock:
            return bool(self._candidates())

    def take(self, count: int) -> list[Claim[Any]]:
        """Claim up to ``count`` rows, fewer if not many are due; none if other workers are faster."""
        for _ in range(_TRIES):
            pks = self._pop(count)
            claims = claim(self._rows().model, pks) if pks else []
            if claims or not pks:
                return claims
        return []

    def is_due(self, pk: int) -> bool:
        """Return whether the row ``pk`` is one of these, and due."""
        return self._rows().filter(pk=pk, next_attempt_at__lte=timezone.now()).exists()

    def take_row(self, pk: int) -> list[Claim[Any]]:
        """Claim this row."""
        return claim(self._rows().model, [pk])

    def _pop(self, count: int) -> list[int]:
        with self._lock:
            pks = self._candidates()
            share = max(1, min(count, self._found // self._share))
            taken, pks[:] = pks[:share], pks[share:]
            return taken

    def _candidates(self) -> list[int]:
        now = timezone.now()
        keep = _CANDIDATES_FRESH if self._pks else timedelta(0) if self._found else self._patience
        if self._read_at is None or abs(now - self._read_at) >= keep:
            due_rows = self._rows().filter(next_attempt_at__lte=now).order_by("next_attempt_at")
            self._pks = list(due_rows.values_list("pk", flat=True)[: self._most])
            random.shuffle(self._pks)
            self._found, self._read_at = len(self._pks), now
        return self._pks


def backlogs(destination: Destination) -> list[Backlog]:
    """Return what workers take from for an account: new uploads first, then transfers, then
    uploads from browsers that were never saved.
    """
    try:
        return _backlogs()[destination.account_key]
    except KeyError:
        found = [
            Backlog(destination.rows),
            Backlog(destination.transfers),
            Backlog(destination.reservations, patience=_NO_HURRY),
        ]
        return _backlogs().setdefault(destination.account_key, found)


@conf.cached
def _backlogs() -> dict[str, list[Backlog]]:
    return {}


def claim(model: type[LeasedRow], pks: Collection[int]) -> list[Claim[Any]]:
    """Claim those of the rows that are due and that no other worker claims in this moment."""
    page_rows.clear()  # of a request that works itself, as with huey in immediate mode
    # Several rows are locked without waiting for any: two that wait for each other would be a deadlock, also
    # with a visitor's transaction.
    if not connections[database()].features.has_select_for_update_skip_locked:
        with transaction.atomic(using=database()):  # all of it or nothing, where reading may find a lock
            return _claim(model, pks)
    if len(pks) > 1:
        with transaction.atomic(using=database()):
            return _claim(model, _unlocked(model, pks))
    return _claim(model, pks)


def _unlocked(model: type[LeasedRow], pks: Collection[int]) -> list[int]:
    rows = _all(model).filter(pk__in=pks, next_attempt_at__lte=timezone.now())
    return list(rows.select_for_update(skip_locked=True).values_list("pk", flat=True))


def _claim(model: type[LeasedRow], pks: Collection[int]) -> list[Claim[Any]]:
    now, lease = timezone.now(), secrets.token_hex(16)
    taken = (
        _all(model)
        .filter(pk__in=pks, next_attempt_at__lte=now)
        .update(lease=lease, next_attempt_at=now + timing.LEASE, attempts=F("attempts") + 1)
    )
    if not taken:
        return []
    rows = _all(model).filter(pk__in=pks, lease=lease)
    # With the first chunk of its bytes: most images have no other.
    return [Claim(row) for row in (chunks.with_first(rows) if model is Upload else rows)]


def release_untried(claims: Collection[Claim[Any]]) -> None:
    """Give back what was claimed together and not tried; it counts as no attempt."""
    for claimed in claims:
        claimed.rows.update(lease="", next_attempt_at=timezone.now(), attempts=F("attempts") - 1)


def _all(model: type[LeasedRow]) -> QuerySet[Any]:
    return _TABLES[model]()


_TABLES: dict[type[LeasedRow], Callable[[], QuerySet[Any]]] = {
    Upload: uploads,
    Transfer: transfers,
    Reservation: reservations,
}


def fix_wrong_times() -> int:
    """Make rows due whose time is too far away to be right: the clock was set back. Return their number.

    No pause is longer than ``MAX_PAUSE``, and new rows are due ``MAX_PAUSE`` before they were made.
    """
    now, fixed = timezone.now(), 0
    for destination in destinations():
        too_late = now + timing.MAX_PAUSE + timing.CLOCK_SKEW
        fixed += destination.rows(after=too_late).update(next_attempt_at=now)
        fixed += destination.transfers(after=too_late).update(next_attempt_at=now)
    return fixed
