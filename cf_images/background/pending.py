"""Which names are pending, known without a query per image.

A name tells the second in which it was chosen: a new one is assumed to be pending without a query. For the
others each process keeps pending names, the oldest of them, and reads them again every ten seconds at
most; when there are more than it keeps, all names that are younger are assumed to be pending, too. The
view of pending images is right for every image: it redirects to Cloudflare what is stored.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from django.core.exceptions import SynchronousOnlyOperation
from django.db import Error, transaction

from cf_images.background import timing
from cf_images.background.rows import database, uploads
from cf_images.images import names
from cf_images.models import UNCONFIRMED

MAX_NAMES = 500  # of each state; they take a few milliseconds to read, and 100 KB
_AFTER_FAILURE_SECONDS = 1.0  # until the database is asked again


class _PendingNames:
    """The oldest pending names, as this process last read them; ``since`` is the age beyond them, in seconds
    since 1970, or ``None``.
    """

    def __init__(self) -> None:
        self._reading = threading.Lock()
        self._names: frozenset[str] = frozenset()
        self._since: int | None = None
        self._read_at: float | None = None
        self._failed_at: float | None = None
        self._added: dict[str, float] = {}  # those that do not tell when they were chosen

    def add(self, name: str) -> None:
        self._added[name] = time.monotonic()

    def has(self, name: str, created_at: int | None) -> bool:
        now = time.monotonic()
        if now - self._added.get(name, now - timing.ASSUME_PENDING_SECONDS) < timing.ASSUME_PENDING_SECONDS:
            return True
        is_old = self._read_at is None or now - self._read_at >= timing.REFRESH_SECONDS
        if is_old and not self._refresh(now):
            return True  # not known, and the view is right for every image
        if name in self._names:
            return True
        return self._since is not None and (created_at is None or created_at >= self._since)

    def _refresh(self, now: float) -> bool:
        """Read in one thread; the others use what is known. Return whether anything is known.

        A failure is no result: it is tried again, and until then nothing is known that is older than ten
        seconds.
        """
        if self._failed_at is not None and now - self._failed_at < _AFTER_FAILURE_SECONDS:
            return False
        if not self._reading.acquire(blocking=self._read_at is None):
            return True
        try:
            with _savepoint():
                self._read()
        except Error:
            self._failed_at = now
            return False
        finally:
            self._reading.release()
        self._read_at, self._failed_at = now, None
        return True

    def _read(self) -> None:
        found, since = set[str](), None
        for state in UNCONFIRMED:
            rows = uploads().filter(state=state).order_by("created_at")
            oldest = list(rows.values_list("name", "pk")[: MAX_NAMES + 1])
            found.update(name for name, _ in oldest)
            if len(oldest) > MAX_NAMES:
                first = _earliest_name(oldest[-1][1])
                since = first if since is None else min(since, first)
        limit = time.monotonic() - timing.ASSUME_PENDING_SECONDS
        self._names, self._since = frozenset(found), since
        self._added = {name: at for name, at in self._added.items() if at > limit}


def _earliest_name(pk: int) -> int:
    """Return since when names may be younger than that of the row, in seconds since 1970.

    To read the time of this row alone is much faster than to convert those of all.
    """
    created_at = uploads().filter(pk=pk).values_list("created_at", flat=True).first()
    # A name is chosen before its row is made. A row that is gone says nothing: assume that all are pending.
    return int(created_at.timestamp()) - timing.ASSUME_PENDING_SECONDS if created_at else 0


@contextmanager
def _savepoint() -> Iterator[None]:
    """Keep the caller's transaction usable when a query fails: PostgreSQL would refuse all that follow."""
    using = database()
    if transaction.get_connection(using).in_atomic_block:
        with transaction.atomic(using=using):
            yield
    else:
        yield


_pending = _PendingNames()


def is_pending(name: str) -> bool:
    """Return whether ``url()`` must give the URL of the pending view for ``name``."""
    created_at = names.created_at(name)
    if _is_new(created_at):
        return True
    try:
        return _pending.has(name, created_at)
    except SynchronousOnlyOperation:
        return True  # async code cannot query, and the view is right for every image


def is_assumed_pending(name: str) -> bool:
    """Return whether the name was chosen less than five minutes ago, as it tells itself."""
    return _is_new(names.created_at(name))


def remember(name: str) -> None:
    """Know at once, in this process, that ``name`` is pending, also where it does not tell its time."""
    if names.created_at(name) is None:
        _pending.add(name)


def clear_cache() -> None:
    """Forget all names: in a test, or in a forked process, where a thread of the parent may have held the
    lock.
    """
    global _pending
    _pending = _PendingNames()


def _is_new(created_at: int | None) -> bool:
    return created_at is not None and time.time() - created_at < timing.ASSUME_PENDING_SECONDS


if hasattr(os, "register_at_fork"):  # pragma: no branch  # Windows does not fork
    os.register_at_fork(after_in_child=clear_cache)
