"""``cf_images revert``: give rows the names that their files had before the switch."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from cf_images.management.subcommands import switch

SUMMARY = "Give rows the names that they had before switch"
HELP = (
    "Change the rows that cf_images switch has changed back: the exact inverse. Exit with 1 if a row could "
    "not be changed, and with 2 if nothing could."
)


def add_arguments(parser: CommandParser) -> None:
    """Add the fields, the place, and whether to ask."""
    switch.add_options(parser, "revert a switch to the names in the storage")


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    """Change the rows back."""
    switch.run(command, options, is_back=True)
