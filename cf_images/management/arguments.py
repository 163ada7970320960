"""The arguments that subcommands share, and Django's own after the name of a subcommand."""

from __future__ import annotations

import argparse
import difflib
import os
from collections.abc import Iterable
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser

from cf_images.accounts import backend_options


class _DjangosOptions(BaseCommand):
    """Django's common options without their defaults, which would replace what stands before the name."""

    requires_system_checks = ()

    def add_base_argument(self, parser: CommandParser, *names: str, **options: Any) -> None:
        parser.add_argument(*names, **{**options, "default": argparse.SUPPRESS})

    def add_arguments(self, parser: CommandParser) -> None:
        # Django adds it only for a command with system checks, and with a default.
        self.add_base_argument(parser, "--skip-checks", action="store_true", help="Skip system checks.")


def djangos_options() -> CommandParser:
    """Return a new parent for one subparser: ``-v``, ``--settings``, ``--traceback``, ``--no-color`` …"""
    return _DjangosOptions().create_parser("", "", add_help=False)


class Names(dict[str, Any]):
    """The parsers of subcommands by name; for a name that is none of them, it suggests the nearest."""

    def __contains__(self, name: object) -> bool:
        if super().__contains__(name):
            return True
        raise argparse.ArgumentError(None, _unknown(str(name), self))


def add_storage(parser: CommandParser, *, default: str = "all") -> None:
    """Add ``--storage``."""
    parser.add_argument(
        "--storage", metavar="ALIAS", help=f"only the account of this alias in STORAGES (default: {default})"
    )


def add_fields(parser: CommandParser) -> None:
    """Add the fields whose rows are read."""
    parser.add_argument(
        "fields",
        nargs="*",
        metavar="field",
        help="app.Model.field (default: every ImageField that is, or would be in production, at Cloudflare)",
    )


def add_place(parser: CommandParser, words: str) -> None:
    """Add ``--to`` and ``--directory``, of which one may be given."""
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--to", metavar="ALIAS", help=f"{words} of this alias in STORAGES")
    place.add_argument("--directory", metavar="DIR", help=f"{words} in this folder")


def place_of(options: dict[str, Any]) -> str | None:
    """Return the place that was given, as the ledger writes it."""
    if options["directory"] is not None:
        return os.path.abspath(str(options["directory"]))
    alias: str | None = options["to"]
    return alias


def add_noinput(parser: CommandParser) -> None:
    """Add ``--noinput``, as Django's own commands have it."""
    parser.add_argument(
        *("--noinput", "--no-input"), action="store_false", dest="interactive", help="do not ask"
    )


def check_storage(alias: str | None) -> None:
    """Raise ``CommandError`` for an alias that is not a Cloudflare Images storage."""
    try:
        known = backend_options()
    except ImproperlyConfigured as error:
        raise CommandError(str(error)) from None
    if alias is not None and alias not in known:
        raise no_storage(alias)


def no_storage(alias: str | None) -> CommandError:
    """Return the error about an alias that is not a Cloudflare Images storage; it names those that are."""
    known = ", ".join(backend_options()) or "there is none"
    return CommandError(f"{alias or 'No alias'} in STORAGES is not a CloudflareImagesStorage ({known}).")


def _unknown(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    nearest = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"Did you mean {nearest[0]!r}? " if nearest else ""
    return f"There is no subcommand {name!r}. {hint}The subcommands are {', '.join(names)}."
