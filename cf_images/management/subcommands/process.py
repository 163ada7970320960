"""``cf_images process``: what workers do, without a queue: by cron, or as a service with ``--loop``."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import close_old_connections, connections
from django.db.models import Count, Min, QuerySet
from django.utils import timezone
from tqdm import tqdm

from cf_images.background import activity, database_connections, heartbeat, tables, wording
from cf_images.background.destinations import destinations
from cf_images.background.leases import due
from cf_images.background.reporting import status
from cf_images.background.rows import unfinished
from cf_images.background.worker import Batch, process_some, sweep
from cf_images.management.output import one_line, write, write_problem
from cf_images.models import State, Upload

SUMMARY = "Process the uploads and deletions that are due"
HELP = (
    "Process the uploads and deletions that are due, print what was done, and stop; exit with 1 if anything "
    "that was due was not done. With --loop, run until interrupted and exit with 0. On Ctrl-C or SIGTERM, "
    "finish the current images first; each request takes 40 seconds at most."
)

logger = logging.getLogger("cf_images.background")

_IDLE = 1.0  # seconds between two queries for rows that are due
_MAX_REASONS = 10  # printed; after an outage, most images have the same
_SWEEP_SECONDS = 60.0


def add_arguments(parser: CommandParser) -> None:
    """Add ``--loop`` and ``--workers``."""
    parser.add_argument("--loop", action="store_true", help="run until interrupted")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="images at a time (default: 1)")


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    """Start the workers and wait for them; when interrupted, they finish their current image."""
    began, before = timezone.now(), activity.counts()
    stop, loop, count = threading.Event(), options["loop"], max(1, options["workers"])
    trouble, sweeps = _Trouble(), _Sweeps()
    with _stopped_by_sigterm(stop), _progress() as advance, ThreadPoolExecutor(count) as pool:
        working = [pool.submit(_work, stop, advance, sweeps, trouble if loop else None) for _ in range(count)]
        try:
            wait(working)
        except KeyboardInterrupt:
            command.stderr.write("Finishing the current images …")
        finally:
            stop.set()
    for worker in working:
        worker.result()
    done = activity.counts()
    done.subtract(before)
    if options["verbosity"]:
        write(command, _summary(done))
    if not loop and not _is_all_done(command, done, began):
        sys.exit(1)


@contextmanager
def _stopped_by_sigterm(stop: threading.Event) -> Iterator[None]:
    """Stop as on Ctrl-C when systemd, Docker or Kubernetes ask for it; a second signal ends it at once."""
    if threading.current_thread() is not threading.main_thread():  # only that one may handle signals
        yield
        return

    def terminate(*_: object) -> None:
        signal.signal(signal.SIGTERM, previous)
        stop.set()

    previous = signal.signal(signal.SIGTERM, terminate) or signal.SIG_DFL
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


# What was done


def _summary(done: dict[activity.Outcome, int]) -> str:
    parts = [f"{wording.count(done['stored'], 'image')} stored"]
    parts += [f"{done[what]:,} {what}" for what in ("rejected", "deleted", "failed") if done[what]]
    later = _unfinished().filter(next_attempt_at__gt=timezone.now(), lease="")
    found = later.aggregate(count=Count("pk"), first=Min("next_attempt_at"))
    if found["count"]:
        parts.append(f"{found['count']:,} not due until {wording.moment(found['first'])}")
    return f"{', '.join(parts)}."


def _is_all_done(command: BaseCommand, done: dict[activity.Outcome, int], began: datetime) -> bool:
    """Print why what was due when the command began is not done; return whether all is."""
    left = _unfinished().filter(next_attempt_at__lte=began, created_at__lte=began)
    if not (done["failed"] or done["rejected"] or left.exists()):
        return True
    found = status()
    for account in found.paused:
        pending = _unfinished().filter(storage__in=account.aliases).count()
        write_problem(command, one_line(f"{account} {wording.images_are(pending)} pending."))
    for problem in found.unprocessable_problems():
        write_problem(command, problem)
    reasons = _unfinished().exclude(last_error="").order_by().values("last_error").annotate(count=Count("pk"))
    for row in reasons.order_by("-count", "last_error")[:_MAX_REASONS]:
        message = f"{wording.images_are(row['count'])} not processed yet: {row['last_error']}"
        write_problem(command, one_line(message))
    if done["rejected"]:
        write_problem(command, "cf_images uploads prints why images were rejected.")
    return False


def _unfinished() -> QuerySet[Upload]:
    """Return the unfinished rows of all accounts, by an index that has them apart from the stored ones."""
    return unfinished().filter(state__in=(State.PENDING, State.DELETING))


# Workers


class _Trouble:
    """A database that does not respond, in the log: when it begins, and when it ends."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_on = False

    def began(self, error: Exception) -> None:
        with self._lock:
            if not self._is_on:
                logger.warning("The database does not respond; trying again each second.", exc_info=error)
            self._is_on = True

    def ended(self) -> None:
        with self._lock:
            if self._is_on:
                logger.warning("The database responds again.")
            self._is_on = False


class _Sweeps:
    """Sweep once a minute, in whichever worker comes first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next = 0.0

    def run(self) -> None:
        with self._lock:
            if time.monotonic() < self._next:
                return
            self._next = time.monotonic() + _SWEEP_SECONDS
        sweep()


def _work(
    stop: threading.Event, advance: Callable[[int], object], sweeps: _Sweeps, trouble: _Trouble | None
) -> None:
    """Process row after row; with ``trouble``, as a service that goes on whatever the database does."""
    batch, tried = Batch(), 0
    try:
        while not stop.is_set():
            if tried := _try_some(batch, sweeps, trouble, is_busy=tried > 0):
                advance(tried)
            elif trouble:
                stop.wait(_IDLE)
            else:
                return
    finally:
        _close_connections()


def _try_some(batch: Batch, sweeps: _Sweeps, trouble: _Trouble | None, *, is_busy: bool) -> int:
    """Process a few rows and return their number; a database that is away for a moment does not end a
    service.
    """
    try:
        database_connections.close_broken() if is_busy else close_old_connections()
        with tables.required():
            heartbeat.start()
            sweeps.run()
            tried = process_some(batch).rows
    except tables.MissingTablesError:
        raise  # that does not pass by itself
    except Exception as error:
        # Each driver has errors of its own for a connection that is gone, and not all are Django's.
        if trouble is None:
            raise
        trouble.began(error)
        _close_connections()
        return 0
    if trouble:
        trouble.ended()
    return tried


def _close_connections() -> None:
    """Close this thread's connections; one that is broken may even fail at that, and is forgotten."""
    for connection in connections.all(initialized_only=True):
        try:
            connection.close()
        except Exception as error:  # noqa: BLE001  # each driver has its own
            logger.info("A connection to the database could not be closed: %s", type(error).__name__)
            connection.connection = None


@contextmanager
def _progress() -> Iterator[Callable[[int], object]]:
    """Show a progress bar on a terminal, nothing elsewhere."""
    is_shown = sys.stderr.isatty()
    total = sum(rows.count() for found in destinations() for rows in due(found)) if is_shown else None
    with tqdm(total=total, unit="image", disable=not is_shown) as bar:
        yield bar.update
