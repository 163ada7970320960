"""``cf_images resume``: end the pause of accounts at once, after their token was corrected."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from cf_images.background import resume, wording
from cf_images.background.reporting import paused_accounts
from cf_images.management.arguments import add_storage, check_storage
from cf_images.management.output import one_line, write

SUMMARY = "Resume paused uploads at once"
HELP = (
    "Resume the uploads of paused accounts at once, and make pending images due: after a token was "
    "corrected. Without it, uploads resume by themselves a few minutes later."
)


def add_arguments(parser: CommandParser) -> None:
    """Add the account."""
    add_storage(parser)


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    """Resume, and print why the accounts were paused."""
    alias = options["storage"]
    check_storage(alias)
    for account in paused_accounts():
        if alias is None or alias in account.aliases:
            write(command, one_line(str(account)))
    write(command, f"{wording.count(resume(alias), 'account')} resumed; pending images are due now.")
