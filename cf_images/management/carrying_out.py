"""Carry out the transfers that a command fills in: in threads of its own, or by workers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.core.management.base import BaseCommand
from django.db import connections
from django.db.models import QuerySet

from cf_images.background.queue_notifier import NONE, notify, queue
from cf_images.background.runner import Run
from cf_images.management import watching
from cf_images.management.output import write_problem
from cf_images.models import Transfer

_NEXT_BATCH_SECONDS = 0.2  # in which new rows may come, where all that are there are finished

Rows = Callable[[], QuerySet[Transfer]]
Fill = Callable[[Callable[[], object]], object]


class Chosen:
    """The rows of a command. What comes after it has filled in its own is for the workers: where visitors
    upload all the time, it would never end. ``newest`` is the key of the last of its own, once it is known.
    """

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self.newest: int | None = None

    def __call__(self) -> QuerySet[Transfer]:
        rows = self._rows()
        return rows if self.newest is None else rows.filter(pk__lte=self.newest)

    def close(self) -> None:
        """Take no rows that are newer than those there are now."""
        self.newest = self._rows().order_by("-pk").values_list("pk", flat=True).first() or 0


def carry_out(
    command: BaseCommand,
    options: Mapping[str, Any],
    chosen: Chosen,
    stop: threading.Event,
    *,
    fill: Fill | None = None,
) -> str | None:
    """Show how far the rows are until they are finished or ``stop`` is set; return why they cannot be.

    With ``--enqueue`` workers carry them out, else ``--threads`` of this process. ``fill`` gets what it is
    to call after each batch of rows: those of the first are carried out while it fills the others, and all
    rows have the accounts of the first.
    """
    work = _enqueue if options["enqueue"] else _run
    fill = fill or _is_filled

    def fill_once(on_batch: Callable[[], object]) -> None:
        fill(on_batch)
        chosen.close()

    return work(command, options, chosen, stop, fill_once)


def _is_filled(on_batch: Callable[[], object]) -> None:
    on_batch()


def _run(
    command: BaseCommand, options: Mapping[str, Any], rows: Rows, stop: threading.Event, fill: Fill
) -> str | None:
    run = Run(rows, threads=options["threads"], rate=options["rate"])
    is_started, is_filled = threading.Event(), threading.Event()

    def work() -> None:
        is_started.wait()
        try:
            while not (stop.is_set() or run.problem):
                was_filled = is_filled.is_set()
                run.run(stop, lambda _: None)
                if was_filled:
                    return
                is_filled.wait(_NEXT_BATCH_SECONDS)
        finally:
            connections.close_all()  # this thread's own

    with ThreadPoolExecutor(1, thread_name_prefix="cf-images-command") as pool:
        running = pool.submit(work)
        try:
            fill(is_started.set)
            is_filled.set()
            is_started.set()  # also where nothing was filled in
            watching.watch(command, rows, watching.is_over(running), is_quiet=not options["verbosity"])
        except BaseException:
            stop.set()
            raise
        finally:
            is_filled.set()
            is_started.set()
        running.result()
    return run.problem


def _enqueue(
    command: BaseCommand, options: Mapping[str, Any], rows: Rows, stop: threading.Event, fill: Fill
) -> str | None:
    fill(notify)
    if queue() == NONE and not stop.is_set():
        write_problem(
            command, "There is no queue: run `manage.py cf_images process` on any machine to copy the files."
        )

    def enqueued() -> QuerySet[Transfer]:
        # What a command left behind, and no row refers to any more, is for no worker: it would never end.
        return rows().filter(is_enqueued=True)

    is_quiet = not options["verbosity"]
    watching.watch(command, enqueued, watching.is_set(stop), is_quiet=is_quiet, has_workers=True)
    return None
