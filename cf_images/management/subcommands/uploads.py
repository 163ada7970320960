"""``cf_images uploads``: how background uploads are doing; its exit status is a health check."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils.timesince import timesince
from django.utils.timezone import now

from cf_images.background import Status, status

HELP = "Print what waits, for how long and why; exit with 1 beyond a threshold."


def add_arguments(parser: CommandParser) -> None:
    """The thresholds; none by default except for storages that are missing."""
    parser.add_argument("--max-age", type=int, metavar="SECONDS", help="of the oldest pending image")
    parser.add_argument("--max-pending", type=int, metavar="N", help="images on their way")
    parser.add_argument("--max-rejected", type=int, metavar="N", help="images refused for good")


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    """Print the figures, then what is beyond its threshold."""
    found = status()
    for line in _lines(found):
        command.stdout.write(line)
    if problems := list(_problems(found, options)):
        for problem in problems:
            command.stderr.write(problem)
        sys.exit(1)


def _lines(found: Status) -> Iterator[str]:
    oldest = found.oldest_pending_age
    yield f"pending     {found.pending:>8,}" + (f"  oldest: {_words(oldest)}" if oldest else "")
    yield f"rejected    {found.rejected:>8,}"
    yield f"to delete   {found.doomed:>8,}"
    yield f"stored      {found.stored:>8,}"
    for gate in found.gates:
        aliases = ", ".join(gate.aliases) or "an account that no storage uses"
        yield f"gate        shut until {gate.closed_until:%H:%M:%S %Z} for {aliases}: {gate.reason}"
    if not found.gates:
        yield "gate        open"


def _problems(found: Status, options: dict[str, Any]) -> Iterator[str]:
    age = (found.oldest_pending_age or timedelta()).total_seconds()
    for what, value, most in (
        ("The oldest pending image is {value:,.0f} s old", age, options["max_age"]),
        ("{value:,} images are pending", found.pending, options["max_pending"]),
        ("{value:,} images are rejected", found.rejected, options["max_rejected"]),
    ):
        if most is not None and value > most:
            yield f"{what.format(value=value)}; at most {most:,} are allowed."
    for alias in found.stranded:
        yield f"Images wait for the storage {alias!r}, which is not in STORAGES."


def _words(age: timedelta) -> str:
    return f"{age.total_seconds():.0f} s" if age < timedelta(minutes=1) else timesince(now() - age)
