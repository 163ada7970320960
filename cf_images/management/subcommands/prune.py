"""``cf_images prune``: forget rows of images that were stored long ago."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from cf_images.background import prune

HELP = "Delete the rows of public images that were stored long ago; the images stay."


def add_arguments(parser: CommandParser) -> None:
    """How long ago."""
    parser.add_argument(
        "--days", type=int, default=90, help="keep the rows of the last so many (default: 90)"
    )


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    """Delete them and say how many."""
    count = prune(timedelta(days=options["days"]))
    command.stdout.write(f"{count:,} rows deleted.")
