"""``cf_images prune``: delete rows of images that were stored long ago."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from cf_images.background import prune, wording
from cf_images.management.output import write

SUMMARY = "Delete old rows of stored images; the images stay"
HELP = "Delete the rows of public images that were stored long ago; the images stay."


def add_arguments(parser: CommandParser) -> None:
    """Add ``--days``."""
    parser.add_argument(
        "--days", type=int, metavar="N", default=90, help="keep the rows of the last N days (default: 90)"
    )


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    """Delete the rows and print their number."""
    deleted = prune(timedelta(days=options["days"]))
    write(command, f"{wording.count(deleted, 'row')} deleted.")
