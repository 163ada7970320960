"""Which names our waiting view must answer for, known without a query per image.

A name tells the second of its birth: a young one is taken for waiting without asking anybody. For the
others each process keeps the names that are still here, and reads them anew every ten seconds at most.
"""

from __future__ import annotations

import os
import threading
import time

from django.core.exceptions import SynchronousOnlyOperation
from django.db import DatabaseError

from cf_images import naming
from cf_images.background import timing
from cf_images.background.database import uploads
from cf_images.models import HELD


class _Undelivered:
    """The names that are still here, as this process last read them."""

    def __init__(self) -> None:
        self._reading = threading.Lock()
        self._names: frozenset[str] = frozenset()
        self._read_at: float | None = None
        self._added: dict[str, float] = {}  # those that do not tell their birth

    def add(self, name: str) -> None:
        self._added[name] = time.monotonic()

    def __contains__(self, name: str) -> bool:
        now = time.monotonic()
        if now - self._added.get(name, now - timing.YOUNG) < timing.YOUNG:
            return True
        if self._read_at is None or now - self._read_at >= timing.REFRESH:
            self._read(now)
        return name in self._names

    def _read(self, now: float) -> None:
        """One thread reads; the others take what is known, if anything is."""
        if not self._reading.acquire(blocking=self._read_at is None):
            return
        try:
            self._names = frozenset(uploads().filter(state__in=HELD).values_list("name", flat=True))
            self._added = {name: at for name, at in self._added.items() if now - at < timing.YOUNG}
        except DatabaseError:
            pass  # a page that shows images must not fail for this; what was known is a good guess
        finally:
            self._read_at = now
            self._reading.release()


_undelivered = _Undelivered()


def is_undelivered(name: str) -> bool:
    """Whether ``url()`` must give our waiting view's address for ``name``."""
    if is_young(name):
        return True
    try:
        return name in _undelivered
    except SynchronousOnlyOperation:
        return True  # nobody can be asked in async code, and the view is never wrong


def is_young(name: str) -> bool:
    """Whether the name tells that it was chosen less than a minute ago; nobody is asked for that."""
    born_at = naming.born_at(name)
    return born_at is not None and time.time() - born_at < timing.YOUNG


def remember(name: str) -> None:
    """Know at once, in this process, that ``name`` waits, also where it does not tell its birth."""
    if naming.born_at(name) is None:
        _undelivered.add(name)


def forget_all() -> None:
    """Begin anew: in a test, or in a forked process, where a thread of the parent may have held the lock."""
    global _undelivered
    _undelivered = _Undelivered()


if hasattr(os, "register_at_fork"):  # pragma: no branch  # Windows does not fork
    os.register_at_fork(after_in_child=forget_all)
