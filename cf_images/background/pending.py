"""Which names are pending, known without a query per image.

A name tells the second in which it was chosen: a new one is assumed to be pending without a query. For the
others each process keeps pending names, the oldest of them, and reads them again every ten seconds at
most; when there are more than it keeps, all names that are younger are assumed to be pending, too. The
view of pending images is right for every image: it redirects to Cloudflare what is stored. So its URL is
what is given wherever nothing is known: in async code, which cannot query, and while the database is away.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass

from django.core.exceptions import SynchronousOnlyOperation
from django.db import Error
from django.utils.asyncio import async_unsafe

from cf_images.background import timing
from cf_images.background.rows import savepoint, uploads
from cf_images.images import names
from cf_images.models import UNCONFIRMED

MAX_NAMES = 500  # of each state; they take a few milliseconds to read, and 100 KB
_AFTER_FAILURE_SECONDS = 1.0  # until the database is asked again
# A clock may have been set back by so much. A later time is none: the letters of "unexpectedness.jpg", an
# imported image, would be a moment in 2028.
_MAX_AHEAD_SECONDS = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What one read has found: replaced as a whole, so that no thread sees half of it."""

    names: frozenset[str]
    since: int | None  # seconds since 1970: the age of the names beyond those, if there are more
    settled_until: int  # what was chosen before, and is not among the names, is not pending and never will be
    read_at: float  # monotonic

    def has(self, name: str, created_at: int | None, *, is_old: bool = False) -> bool:
        if name in self.names:
            return True
        if created_at is None:
            return is_old or self.since is not None
        if self.since is not None and created_at >= self.since:
            return True
        return is_old and created_at >= self.settled_until


class _PendingNames:
    """The oldest pending names, as this process last read them."""

    def __init__(self) -> None:
        self._reading = threading.Lock()
        self._found: _Found | None = None
        self._failed_at: float | None = None
        self._adding = threading.Lock()
        self._assumed: dict[str, float] = {}  # until when, the earliest first

    def assume(self, name: str) -> None:
        now = time.monotonic()
        with self._adding:
            self._assumed.pop(name, None)
            self._assumed[name] = now + timing.ASSUME_PENDING_SECONDS
            while self._assumed[first := next(iter(self._assumed))] <= now:
                del self._assumed[first]

    def has(self, name: str, created_at: int | None) -> bool:
        now = time.monotonic()
        if self._assumed and now < self._assumed.get(name, 0):
            return True
        found = self._found
        if found is None or now - found.read_at >= timing.REFRESH_SECONDS:
            return self._has_after_refresh(name, created_at)
        return found.has(name, created_at)

    def _has_after_refresh(self, name: str, created_at: int | None) -> bool:
        try:
            self.refresh()
        except SynchronousOnlyOperation:
            pass
        found = self._found
        return found is None or found.has(name, created_at, is_old=self._is_old(found))

    def _is_old(self, found: _Found | None) -> bool:
        return found is None or time.monotonic() - found.read_at >= timing.REFRESH_SECONDS

    def refresh(self) -> None:
        """Read the names again if they are old; raise ``SynchronousOnlyOperation`` in async code."""
        if self._is_due():
            self._refresh()

    def _is_due(self) -> bool:
        failed_at = self._failed_at
        has_just_failed = failed_at is not None and time.monotonic() - failed_at < _AFTER_FAILURE_SECONDS
        return self._is_old(self._found) and not has_just_failed

    @async_unsafe("Async code cannot query the database.")  # nor wait for a thread that does
    def _refresh(self) -> None:
        """Read in one thread; the others wait for it only where nothing is known.

        A failure is no result: it is tried again. What was found before it stays.
        """
        if not self._reading.acquire(blocking=self._found is None):
            return
        try:
            if self._is_due():  # else another thread was faster
                with savepoint():
                    found = _read()
                self._found, self._failed_at = found, None
        except Error:
            self._failed_at = time.monotonic()
        finally:
            self._reading.release()


def _read() -> _Found:
    began, read_at = int(time.time()), time.monotonic()
    found, since = set[str](), None
    for state in UNCONFIRMED:
        rows = uploads().filter(state=state).order_by("created_at")
        oldest = list(rows.values_list("name", "pk")[: MAX_NAMES + 1])
        found.update(name for name, _ in oldest)
        if len(oldest) > MAX_NAMES:
            first = _earliest_name(oldest[-1][1])
            since = first if since is None else min(since, first)
    # Twice the longest transaction: that of the row, and the one in which this reads, which may see the past.
    settled_until = began - 2 * timing.ASSUME_PENDING_SECONDS
    return _Found(names=frozenset(found), since=since, settled_until=settled_until, read_at=read_at)


def _earliest_name(pk: int) -> int:
    """Return since when names may be younger than that of the row, in seconds since 1970.

    To read the time of this row alone is much faster than to convert those of all.
    """
    created_at = uploads().filter(pk=pk).values_list("created_at", flat=True).first()
    # A name is chosen before its row is made. A row that is gone says nothing: assume that all are pending.
    return int(created_at.timestamp()) - timing.ASSUME_PENDING_SECONDS if created_at else 0


_pending = _PendingNames()


def is_pending(name: str) -> bool:
    """Return whether ``url()`` must give the URL of the pending view for ``name``."""
    created_at = _created_at(name)
    return _is_new(created_at) or _pending.has(name, created_at)


def is_assumed_pending(name: str) -> bool:
    """Return whether the name was chosen less than five minutes ago, as it tells itself."""
    return _is_new(_created_at(name))


def remember(name: str) -> None:
    """Know at once, in this process, that ``name`` is pending, also where it does not tell its time."""
    if not is_assumed_pending(name):
        _pending.assume(name)


def assume_pending(name: str) -> None:
    """Take ``name`` for pending for five minutes, in this process: a transaction changes its row.

    What a thread reads within that transaction, a rollback makes wrong; all threads use it.
    """
    _pending.assume(name)


def refresh_names() -> None:
    """Read the names if this process has not done so for ten seconds; async code knows only these."""
    _pending.refresh()


def clear_cache() -> None:
    """Forget all names: in a test, or in a forked process, where a thread of the parent may have held the
    lock.
    """
    global _pending
    _pending = _PendingNames()


def _created_at(name: str) -> int | None:
    found = names.created_at(name)
    return None if found is not None and found - time.time() > _MAX_AHEAD_SECONDS else found


def _is_new(created_at: int | None) -> bool:
    return created_at is not None and time.time() - created_at < timing.ASSUME_PENDING_SECONDS


if hasattr(os, "register_at_fork"):  # pragma: no branch  # Windows does not fork
    os.register_at_fork(after_in_child=clear_cache)
