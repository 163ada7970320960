"""What the subcommands about transfers share: exit statuses, and the end of their output."""

from __future__ import annotations

import math
import sys
import threading
import time
from argparse import ArgumentTypeError
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError
from tqdm import tqdm

from cf_images.background import tables, wording
from cf_images.management.output import one_line, write, write_problem
from cf_images.transfer.report import Problems

SOMETHING_LEFT, COULD_NOT_RUN = 1, 2

_MAX_THREADS = 256
_LINE_SECONDS = 10.0  # between two lines where there is no terminal


def rate(text: str) -> float:
    """Return the value of ``--rate``: requests a second."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < math.inf:
        raise ArgumentTypeError(f"{text!r} is no number above 0.")
    return value


def threads(text: str) -> int:
    """Return the value of ``--threads``."""
    if not text.isascii() or not text.isdecimal() or not 0 < int(text) <= _MAX_THREADS:
        raise ArgumentTypeError(f"{text!r} is no number from 1 to {_MAX_THREADS}.")
    return int(text)


def add_copying(parser: CommandParser) -> None:
    """Add how files are copied, how fast and by whom, and what is said of it."""
    parser.add_argument("--threads", type=threads, default=4, metavar="N", help="files at a time (4)")
    parser.add_argument("--rate", type=rate, metavar="N", help="at most so many requests a second")
    parser.add_argument(
        "--enqueue", action="store_true", help="let the workers copy the files, and show how far they are"
    )
    parser.add_argument("--report", metavar="FILE", help="list what is left behind; .csv or .jsonl")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done")


class Progress:
    """How many files are done: a bar on a terminal, elsewhere a line every ten seconds."""

    def __init__(self, command: BaseCommand, options: Mapping[str, Any], *, total: int | None = None) -> None:
        is_shown = options["verbosity"] > 0
        is_terminal = sys.stderr.isatty()
        self.done = 0
        self._command = command
        self._total = total
        self._has_lines = is_shown and not is_terminal
        self._next_line = time.monotonic() + _LINE_SECONDS
        self._lock = threading.Lock()
        self._bar = tqdm(total=total, unit=" files", disable=not (is_shown and is_terminal))

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def advance(self, files: int = 1) -> None:
        """Count files; from any thread."""
        with self._lock:
            self.done += files
            self._bar.update(files)
            if self._has_lines and time.monotonic() >= self._next_line:
                self._next_line = time.monotonic() + _LINE_SECONDS
                of = f" of {self._total:,}" if self._total is not None else ""
                write(self._command, f"{self.done:,}{of} files …")


@contextmanager
def could_not_run() -> Iterator[None]:
    """Exit with 2, and one line, for wrong settings and for a database that does not do what it should."""
    try:
        with tables.required():
            yield
    except ImproperlyConfigured as error:
        raise CommandError(one_line(str(error)), returncode=COULD_NOT_RUN) from None
    except DatabaseError as error:
        text = one_line(str(error))
        raise CommandError(f"The database fails: {text}", returncode=COULD_NOT_RUN) from None


def check_rate(options: Mapping[str, Any]) -> None:
    """Refuse ``--rate`` where workers do the work."""
    if options["enqueue"] and options["rate"]:
        raise CommandError(
            '--rate is for this command; workers keep to CF_IMAGES["API_RATE"]: leave it or --enqueue out.',
            returncode=COULD_NOT_RUN,
        )


def files_left(number: int, *, is_stopped: bool, is_enqueued: bool) -> str:
    """Return that files are left for another time, and who copies them."""
    is_left = f"{wording.count(number, 'file')} {'is' if number == 1 else 'are'} left"
    if is_enqueued:
        return f"{is_left} to the workers. The same command shows how far they are."
    return f"{'Stopped: ' if is_stopped else ''}{is_left}. The same command continues."


def files_newer(number: int) -> str:
    """Return that files came while the command ran, and who copies them."""
    them = "it" if number == 1 else "them"
    return f"{wording.count(number, 'file')} came meanwhile; the workers copy {them}."


def refuse(command: BaseCommand, problems: Problems, reason: str) -> NoReturn:
    """Print what was left behind, and exit with 2, since nothing goes on."""
    for line in problems.lines():
        write_problem(command, one_line(line))
    raise CommandError(one_line(reason), returncode=COULD_NOT_RUN)


def finish(command: BaseCommand, problems: Problems, *, is_left: bool = False) -> None:
    """Print what was left behind, and exit with 1 if anything was; ``is_left``: something else was."""
    for line in problems.lines():
        write_problem(command, one_line(line))
    if problems.count or is_left:
        sys.exit(SOMETHING_LEFT)
