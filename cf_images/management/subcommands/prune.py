"""``cf_images prune``: delete rows of images that were stored long ago."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from cf_images.background import prune

HELP = "Delete the rows of public images that were stored long ago; the images stay."


def add_arguments(parser: CommandParser) -> None:
    """Add ``--days``."""
    parser.add_argument(
        "--days", type=int, metavar="N", default=90, help="keep the rows of the last N days (default: 90)"
    )


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    """Delete the rows and print their number."""
    count = prune(timedelta(days=options["days"]))
    command.stdout.write(f"{count:,} row{'' if count == 1 else 's'} deleted.")
