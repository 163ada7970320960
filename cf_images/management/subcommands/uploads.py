"""``cf_images uploads``: the state of background uploads; its exit status is a health check."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils.timesince import timesince
from django.utils.timezone import now

from cf_images.background import Status, status

HELP = "Print what is pending, for how long and why; exit with 1 beyond a threshold."


def add_arguments(parser: CommandParser) -> None:
    """Add the thresholds; by default only unknown storages are a problem."""
    parser.add_argument("--max-age", type=int, metavar="SECONDS", help="of the oldest pending image")
    parser.add_argument("--max-pending", type=int, metavar="N", help="pending images")
    parser.add_argument("--max-rejected", type=int, metavar="N", help="rejected images")


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
    yield f"deleting    {found.deleting:>8,}"
    yield f"stored      {found.stored:>8,}"
    for account in found.paused:
        aliases = ", ".join(account.aliases) or "an account that no storage uses"
        yield f"paused      until {account.paused_until:%H:%M:%S %Z}: {aliases}: {account.reason}"
    if not found.paused:
        yield "paused      no account"


def _problems(found: Status, options: dict[str, Any]) -> Iterator[str]:
    age = (found.oldest_pending_age or timedelta()).total_seconds()
    for what, value, maximum in (
        (f"The oldest pending image is {age:,.0f} s old", age, options["max_age"]),
        (f"{_images(found.pending)} pending", found.pending, options["max_pending"]),
        (f"{_images(found.rejected)} rejected", found.rejected, options["max_rejected"]),
    ):
        if maximum is not None and value > maximum:
            yield f"{what}; the limit is {maximum:,}."
    for alias in found.unknown_storages:
        yield f"Images are pending for the storage {alias!r}, which is not in STORAGES."


def _images(count: int) -> str:
    return "1 image is" if count == 1 else f"{count:,} images are"


def _words(age: timedelta) -> str:
    return f"{age.total_seconds():.0f} s" if age < timedelta(minutes=1) else timesince(now() - age)
