"""``cf_images process``: what workers do, without a queue: by cron, or as a service with ``--loop``."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import DatabaseError, close_old_connections, connections
from tqdm import tqdm

from cf_images.background.leases import due
from cf_images.background.worker import process_one

HELP = "Process the uploads and deletions that are due, then stop; with --loop, run until interrupted."

logger = logging.getLogger("cf_images.background")

_IDLE = 1.0  # seconds between two queries for rows that are due


def add_arguments(parser: CommandParser) -> None:
    """Add ``--loop`` and ``--workers``."""
    parser.add_argument("--loop", action="store_true", help="run until interrupted")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="images at a time (default: 1)")


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    """Start the workers and wait for them; when interrupted, they finish their current image."""
    stop, loop, count = threading.Event(), options["loop"], max(1, options["workers"])
    with _progress() as advance, ThreadPoolExecutor(count) as pool:
        working = [pool.submit(_work, stop, advance, loop=loop) for _ in range(count)]
        try:
            wait(working)
        except KeyboardInterrupt:
            command.stderr.write("Finishing the current images …")
        finally:
            stop.set()
    for worker in working:
        worker.result()


def _work(stop: threading.Event, advance: Callable[[], object], *, loop: bool) -> None:
    try:
        while not stop.is_set():
            close_old_connections()
            if _try_one(loop=loop):
                advance()
            elif loop:
                stop.wait(_IDLE)
            else:
                return
    finally:
        connections.close_all()


def _try_one(*, loop: bool) -> bool:
    """Process one row; a database that is away for a moment does not end a service."""
    try:
        return process_one()
    except DatabaseError:
        if not loop:
            raise
        logger.warning("The database does not respond; trying again.", exc_info=True)
        return False


@contextmanager
def _progress() -> Iterator[Callable[[], object]]:
    """Show a progress bar on a terminal, nothing elsewhere."""
    with tqdm(total=due().count(), unit="image", disable=not sys.stderr.isatty()) as bar:
        yield bar.update
