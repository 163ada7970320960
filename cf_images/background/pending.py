"""Which names are pending, known without a query per image.

A name tells the second in which it was chosen: a new one is assumed to be pending without a query. For the
others each process keeps the pending names, and reads them again every ten seconds at most.
"""

from __future__ import annotations

import os
import threading
import time

from django.core.exceptions import SynchronousOnlyOperation
from django.db import DatabaseError

from cf_images.background import timing
from cf_images.background.rows import uploads
from cf_images.images import names
from cf_images.models import UNCONFIRMED


class _PendingNames:
    """The pending names, as this process last read them."""

    def __init__(self) -> None:
        self._reading = threading.Lock()
        self._names: frozenset[str] = frozenset()
        self._read_at: float | None = None
        self._added: dict[str, float] = {}  # those that do not tell when they were chosen

    def add(self, name: str) -> None:
        self._added[name] = time.monotonic()

    def __contains__(self, name: str) -> bool:
        now = time.monotonic()
        if now - self._added.get(name, now - timing.ASSUME_PENDING_SECONDS) < timing.ASSUME_PENDING_SECONDS:
            return True
        if self._read_at is None or now - self._read_at >= timing.REFRESH_SECONDS:
            self._read(now)
        return name in self._names

    def _read(self, now: float) -> None:
        """Read in one thread; the others use what is known, if anything is."""
        if not self._reading.acquire(blocking=self._read_at is None):
            return
        try:
            pending = uploads().filter(state__in=UNCONFIRMED)
            self._names = frozenset(pending.values_list("name", flat=True))
            self._added = {
                name: at for name, at in self._added.items() if now - at < timing.ASSUME_PENDING_SECONDS
            }
        except DatabaseError:
            pass  # a page that shows images must not fail for this; the last known names are a good guess
        finally:
            self._read_at = now
            self._reading.release()


_pending = _PendingNames()


def is_pending(name: str) -> bool:
    """Return whether ``url()`` must give the URL of the pending view for ``name``."""
    if is_assumed_pending(name):
        return True
    try:
        return name in _pending
    except SynchronousOnlyOperation:
        return True  # async code cannot query, and the view is right for every image


def is_assumed_pending(name: str) -> bool:
    """Return whether the name was chosen less than a minute ago, as it tells itself."""
    created_at = names.created_at(name)
    return created_at is not None and time.time() - created_at < timing.ASSUME_PENDING_SECONDS


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


if hasattr(os, "register_at_fork"):  # pragma: no branch  # Windows does not fork
    os.register_at_fork(after_in_child=clear_cache)
