"""``manage.py cf_images <subcommand>``: only dispatches; each subcommand is a module of its own."""

from __future__ import annotations

from typing import Any, Protocol

from django.core.management.base import BaseCommand, CommandParser

from cf_images.management.subcommands import deliver, doctor, keys, prune, uploads, variants


class Subcommand(Protocol):
    """What a module in ``subcommands`` has."""

    HELP: str

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare its options."""
        ...

    def handle(self, command: BaseCommand, options: dict[str, Any]) -> None:
        """Do it; failures are ``CommandError`` or an exit status."""
        ...


SUBCOMMANDS: dict[str, Subcommand] = {
    "deliver": deliver,
    "doctor": doctor,
    "keys": keys,
    "prune": prune,
    "uploads": uploads,
    "variants": variants,
}


class Command(BaseCommand):
    """Dispatches to a subcommand."""

    help = "Cloudflare Images: a doctor, background uploads, and the account's variants and keys."

    def add_arguments(self, parser: CommandParser) -> None:
        """One parser for each subcommand."""
        subparsers = parser.add_subparsers(dest="subcommand", metavar="subcommand", required=True)
        for name, subcommand in SUBCOMMANDS.items():
            subcommand.add_arguments(
                subparsers.add_parser(name, help=subcommand.HELP, description=subcommand.HELP)
            )

    def handle(self, *_: Any, **options: Any) -> None:
        """Run the chosen one."""
        SUBCOMMANDS[options["subcommand"]].handle(self, options)
