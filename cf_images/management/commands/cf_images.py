"""``manage.py cf_images <subcommand>``: dispatches to a module per subcommand."""

from __future__ import annotations

from typing import Any, Protocol

from django.core.management.base import (
    BaseCommand,
    CommandError,
    CommandParser,
    DjangoHelpFormatter,
    SystemCheckError,
)

from cf_images.background import tables
from cf_images.management.arguments import Names, djangos_options
from cf_images.management.subcommands import (
    defaults,
    doctor,
    export,
    import_,
    keys,
    orphans,
    process,
    prune,
    resume,
    revert,
    switch,
    uploads,
    variants,
    verify,
)
from cf_images.management.transferring import COULD_NOT_RUN


class Subcommand(Protocol):
    """A module in ``subcommands``.

    ``SUMMARY`` is its line in the list of subcommands, ``HELP`` the first paragraph of its own help.
    """

    SUMMARY: str
    HELP: str

    def add_arguments(self, parser: CommandParser) -> None:
        """Add its options."""
        ...

    def handle(self, command: BaseCommand, options: dict[str, Any]) -> None:
        """Run; a failure is a ``CommandError`` or an exit status."""
        ...


SUBCOMMANDS: dict[str, Subcommand] = {
    "defaults": defaults,
    "doctor": doctor,
    "export": export,
    "import": import_,
    "keys": keys,
    "orphans": orphans,
    "process": process,
    "prune": prune,
    "resume": resume,
    "revert": revert,
    "switch": switch,
    "uploads": uploads,
    "variants": variants,
    "verify": verify,
}


class Command(BaseCommand):
    """The command ``cf_images``."""

    help = (
        "Cloudflare Images: move images in and out, find orphans; a doctor, uploads, default images, and the "
        "variants and signing keys of accounts."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add a parser for each subcommand; Django's common options may stand before or after its name."""
        subparsers = parser.add_subparsers(title="subcommands", dest="subcommand", metavar="subcommand")
        for name, subcommand in SUBCOMMANDS.items():
            subcommand.add_arguments(
                subparsers.add_parser(
                    name,
                    help=subcommand.SUMMARY,
                    description=subcommand.HELP,
                    formatter_class=DjangoHelpFormatter,
                    parents=[djangos_options()],
                )
            )
        subparsers.choices = Names(subparsers.choices or {})

    def check(self, *arguments: Any, **options: Any) -> None:
        """Run Django's checks; errors end the command with 2, since 1 means that something was left."""
        try:
            super().check(*arguments, **options)
        except SystemCheckError as error:
            error.returncode = COULD_NOT_RUN
            raise

    def handle(self, *_: Any, **options: Any) -> None:
        """Run the chosen subcommand."""
        name = options["subcommand"]
        if name is None:
            known = ", ".join(SUBCOMMANDS)
            raise CommandError(
                f"Name a subcommand ({known}); --help describes them.", returncode=COULD_NOT_RUN
            )
        try:
            with tables.required():
                SUBCOMMANDS[name].handle(self, options)
        except tables.MissingTablesError as error:
            raise CommandError(str(error), returncode=COULD_NOT_RUN) from None
