"""Show how far transfers are, whoever carries them out, until they are done or a person stops it."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand
from django.db import InterfaceError, OperationalError, close_old_connections
from django.db.models import QuerySet
from tqdm import tqdm

from cf_images.background import heartbeat, wording
from cf_images.background.reporting import idle_problem, oldest_due_at, paused_accounts
from cf_images.background.rows import is_unfinished
from cf_images.management.output import one_line, write, write_problem
from cf_images.models import Transfer

BAR_SECONDS, LINE_SECONDS = 1.0, 10.0  # between two looks at the database, on a terminal and elsewhere
_IDLE = timedelta(minutes=2)  # the sweep wakes a worker each minute


@contextmanager
def stopped_by_signals(command: BaseCommand, message: str) -> Iterator[threading.Event]:
    """Give what Ctrl-C and SIGTERM set, after the ``message``; a second Ctrl-C ends the command at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # only that one may handle signals
        yield stop
        return

    def ask(number: int, _: object) -> None:
        signal.signal(number, before[signal.Signals(number)])
        if not stop.is_set():
            write_problem(command, message)
        stop.set()

    before = {
        number: signal.getsignal(number) or signal.SIG_DFL for number in (signal.SIGINT, signal.SIGTERM)
    }
    for number in before:
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def watch(
    command: BaseCommand,
    rows: Callable[[], QuerySet[Transfer]],
    wait: Callable[[float], bool],
    *,
    is_quiet: bool = False,
    has_workers: bool = False,
) -> None:
    """Show how many of ``rows`` are finished, until ``wait`` returns ``True`` or none is left.

    ``wait`` returns at once, or after the seconds that it gets. A bar on a terminal, else lines; both say
    why nothing goes on, with ``has_workers`` also that none is active.
    """
    is_terminal = sys.stderr.isatty()
    total = left = _left(rows) or 0
    if left and not is_quiet:
        write(command, f"{wording.count(left, 'file')} to copy.")
    began = time.monotonic()
    with tqdm(total=total, unit=" files", disable=is_quiet or not is_terminal) as bar:
        while left and not wait(BAR_SECONDS if is_terminal else LINE_SECONDS):
            found = _left(rows)
            if found is None:
                continue
            before, left = left, found
            bar.update(before - left)
            hindrance = one_line(_hindrance(has_workers=has_workers))
            bar.set_postfix_str(hindrance, refresh=False)
            if left and not (is_quiet or is_terminal):
                write(command, f"{_line(total, left, time.monotonic() - began)} {hindrance}".rstrip())
        bar.update(left - (_left(rows) or 0) if left else 0)


def _left(rows: Callable[[], QuerySet[Transfer]]) -> int | None:
    """Return how many are left; ``None`` where the database does not respond: the workers notice that."""
    try:
        return rows().filter(is_unfinished()).count()
    except (OperationalError, InterfaceError):
        close_old_connections()  # a broken one would stay broken
        return None


def _line(total: int, left: int, seconds: float) -> str:
    done = max(0, total - left)
    line = f"{done:,} of {wording.count(total, 'file')}"
    if done and seconds > 0:
        remaining = timedelta(seconds=left * seconds / done)
        line += f", {done / seconds:,.1f} a second, about {wording.duration(remaining)} left"
    return f"{line}."


def _hindrance(*, has_workers: bool) -> str:
    found = [*map(str, paused_accounts())]
    if has_workers and (problem := idle_problem(oldest_due_at(), heartbeat.last_seen(), _IDLE)):
        found.append(problem)
    return " ".join(found)


def is_set(stop: threading.Event) -> Callable[[float], bool]:
    """Return a ``wait`` that ends with ``stop`` alone."""
    return lambda seconds: stop.wait(seconds)


def is_over(future: Any) -> Callable[[float], bool]:
    """Return a ``wait`` that ends with work in another thread."""

    def wait(seconds: float) -> bool:
        try:
            future.exception(timeout=seconds)
        except TimeoutError:
            return False
        return True

    return wait
