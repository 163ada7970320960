"""Limit what rendering for visitors costs a process: each rendition once, two at a time, part of a core.

Visitors may request the images of public pages as often as they like. A request that would have to wait gets
a placeholder at once, so that the site's other pages keep their threads.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")

MAX_SECONDS = 0.3  # of CPU for one rendition, as estimated beforehand
MAX_PIXELS = 25_000_000  # a rendition costs up to four bytes of memory a pixel, in a web process
_SLOTS = 2
_WAIT = 0.1  # seconds; longer, and twenty requests at once would hold up a server with four threads
# Of each second, rendering gets 0.4, and 0.3 more after a pause. In a server with one thread, twenty requests
# at once then keep it busy with rendering for about 0.3 / (1 - 0.4) + MAX_SECONDS = 0.8 seconds.
_SHARE, _BURST = 0.4, 0.3


class BusyError(Exception):
    """The rendition must wait for others: let the visitor try again."""


class RenderSlots:
    """The renderings of one process. ``clock`` returns seconds."""

    def __init__(
        self, *, slots: int = _SLOTS, wait: float = _WAIT, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._wait, self._clock = wait, clock
        self._free = threading.BoundedSemaphore(slots)
        self._lock = threading.Lock()
        self._running: dict[Hashable, _Running] = {}
        self._balance, self._counted_at = _BURST, clock()

    def once(self, key: Hashable, work: Callable[[], T]) -> T:
        """Return what ``work`` returns; requests for the same ``key`` at the same time share one call.

        Raise ``BusyError`` where that would take more than a moment.
        """
        with self._lock:
            running = self._running.get(key)
            if running is None:
                mine = self._running[key] = _Running()
        if running is not None:
            return running.result(self._wait)  # type: ignore[no-any-return]
        try:
            with self._slot():
                value = mine.value = work()
                mine.succeeded = True
                return value
        finally:
            with self._lock:
                del self._running[key]
            mine.done.set()

    @contextmanager
    def _slot(self) -> Iterator[None]:
        if self._earned() <= 0 or not self._free.acquire(timeout=self._wait):
            raise BusyError
        began = self._clock()
        try:
            yield
        finally:
            self._free.release()
            with self._lock:
                self._balance -= self._clock() - began

    def _earned(self) -> float:
        with self._lock:
            now = self._clock()
            self._balance = min(_BURST, self._balance + (now - self._counted_at) * _SHARE)
            self._counted_at = now
            return self._balance


class _Running:
    """One call of ``work``, and what it has returned."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.succeeded = False
        self.value: Any = None

    def result(self, timeout: float) -> Any:
        if not self.done.wait(timeout) or not self.succeeded:
            raise BusyError
        return self.value


_slots = RenderSlots()


def render_once(key: Hashable, work: Callable[[], T]) -> T:
    """Return what ``work`` renders, within the limits of this process; see ``RenderSlots.once``."""
    return _slots.once(key, work)


def clear() -> None:
    """Start anew: in a test, or in a forked process, where a thread of the parent may have held the lock."""
    global _slots
    _slots = RenderSlots()


if hasattr(os, "register_at_fork"):  # pragma: no branch  # Windows does not fork
    os.register_at_fork(after_in_child=clear)
