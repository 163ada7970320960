"""Which workers there are, and when they last worked: a row per process, written every twenty seconds."""

from __future__ import annotations

import logging
import math
import os
import socket
import threading
import time
from contextlib import suppress
from datetime import datetime, timedelta

from django.db import connections
from django.db.models import Max, QuerySet, Sum
from django.utils import timezone

from cf_images.background.rows import database
from cf_images.models import Worker

logger = logging.getLogger("cf_images.background")

_SECONDS = 20.0
_ALIVE = timedelta(seconds=3 * _SECONDS)
_FORGOTTEN = timedelta(days=1)


class _Process:
    """What this process tells of itself."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self.threads: set[int] = set()
        self.worked_at: datetime | None = None
        self._written_at = -math.inf

    def start(self) -> None:
        """Count this thread as a worker; the first one writes at once, and starts the heartbeat."""
        with self._lock:
            self.threads.add(threading.get_ident())
            if self._thread is not None:
                return
            self._thread = threading.Thread(target=self._run, name="cf-images-heartbeat", daemon=True)
        self.beat()
        try:
            self._thread.start()
        except RuntimeError:  # the interpreter is shutting down
            pass

    def touch(self) -> None:
        """Count this thread as a worker, and write the row if it is old: without a thread that does so."""
        self.threads.add(threading.get_ident())
        if self._thread is None and time.monotonic() >= self._written_at + _SECONDS:
            self.beat()

    def beat(self) -> None:
        """Write the row of this process."""
        self._written_at = time.monotonic()
        alive = {thread.ident for thread in threading.enumerate()}
        values = {
            "threads": max(1, len(self.threads & alive)),
            "seen_at": timezone.now(),
            "worked_at": self.worked_at,
        }
        try:
            Worker.objects.using(database()).update_or_create(name=_name(), defaults=values)
        except Exception as error:  # noqa: BLE001  # each driver has its own; the next beat may succeed
            logger.info("The heartbeat could not be written: %s", error)

    def _run(self) -> None:
        while True:
            _sleep.wait(_SECONDS)
            self.beat()
            with suppress(Exception):  # a broken connection may even fail at that
                connections.close_all()  # of this thread


_sleep = threading.Event()
_process = _Process()


def start() -> None:
    """Tell other processes that this thread is a worker."""
    _process.start()


def touch() -> None:
    """Tell other processes that this thread works now and then, in a queue of the site."""
    _process.touch()


def worked() -> None:
    """Note that this process has tried a row, or has looked for one."""
    _process.worked_at = timezone.now()


def threads() -> int:
    """Return the number of threads of all workers that were seen a moment ago."""
    return _alive().aggregate(threads=Sum("threads"))["threads"] or 0


def processes() -> int:
    """Return the number of these workers' processes."""
    return _alive().count()


def last_beat() -> datetime | None:
    """Return when a worker was last seen, with work or without; ``None`` if that was never."""
    latest: datetime | None = Worker.objects.using(database()).aggregate(at=Max("seen_at"))["at"]
    return latest


def last_seen() -> datetime | None:
    """Return when a worker last tried a row or looked for one; ``None`` if that was never."""
    latest: datetime | None = Worker.objects.using(database()).aggregate(at=Max("worked_at"))["at"]
    return latest


def forget_dead() -> None:
    """Delete the rows of processes that ended long ago, but keep when one last worked."""
    workers = Worker.objects.using(database())
    newest = workers.order_by("-worked_at").values_list("pk", flat=True).first()
    workers.filter(seen_at__lt=timezone.now() - _FORGOTTEN).exclude(pk=newest).delete()


def _alive() -> QuerySet[Worker]:
    return Worker.objects.using(database()).filter(seen_at__gt=timezone.now() - _ALIVE)


def _name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"[:200]


def _after_fork_in_child() -> None:
    global _process
    _process = _Process()


if hasattr(os, "register_at_fork"):  # pragma: no branch  # Windows does not fork
    os.register_at_fork(after_in_child=_after_fork_in_child)
