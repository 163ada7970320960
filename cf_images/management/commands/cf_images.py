"""``manage.py cf_images <subcommand>``: dispatches to a module per subcommand."""

from __future__ import annotations

from typing import Any, Protocol

from django.core.management.base import BaseCommand, CommandParser

from cf_images.management.subcommands import doctor, keys, process, prune, uploads, variants


class Subcommand(Protocol):
    """A module in ``subcommands``."""

    HELP: str

    def add_arguments(self, parser: CommandParser) -> None:
        """Add its options."""
        ...

    def handle(self, command: BaseCommand, options: dict[str, Any]) -> None:
        """Run; a failure is a ``CommandError`` or an exit status."""
        ...


SUBCOMMANDS: dict[str, Subcommand] = {
    "doctor": doctor,
    "keys": keys,
    "process": process,
    "prune": prune,
    "uploads": uploads,
    "variants": variants,
}


class Command(BaseCommand):
    """The command ``cf_images``."""

    help = "Cloudflare Images: a doctor, background uploads, and the variants and signing keys of accounts."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add a parser for each subcommand."""
        subparsers = parser.add_subparsers(dest="subcommand", metavar="subcommand", required=True)
        for name, subcommand in SUBCOMMANDS.items():
            subcommand.add_arguments(
                subparsers.add_parser(name, help=subcommand.HELP, description=subcommand.HELP)
            )

    def handle(self, *_: Any, **options: Any) -> None:
        """Run the chosen subcommand."""
        SUBCOMMANDS[options["subcommand"]].handle(self, options)
