"""``cf_images export``: bring originals back from Cloudflare, into a folder or any storage."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandParser

from cf_images.background import places, wording
from cf_images.management import watching
from cf_images.management.arguments import add_fields, add_place, place_of
from cf_images.management.carrying_out import Chosen, carry_out
from cf_images.management.output import one_line, write, write_problem
from cf_images.management.transferring import (
    add_copying,
    check_rate,
    could_not_run,
    files_left,
    files_newer,
    finish,
    refuse,
)
from cf_images.transfer import fields, ledger
from cf_images.transfer.exporting import Export, Exported
from cf_images.transfer.fields import Route
from cf_images.transfer.plan import in_words
from cf_images.transfer.report import Problems, written_to

SUMMARY = "Copy originals back from Cloudflare"
HELP = (
    "Copy the originals of the images that rows refer to from Cloudflare into a folder or another storage, "
    "byte for byte as Cloudflare returns them. Each file gets the name that the row has, or that it had "
    "before the import. Rows and images stay as they are; a file that is there already is compared and never "
    "replaced. Run again, it continues. Exit with 0 if all files are there, 1 if some were left behind, 2 if "
    "it could not run."
)


def add_arguments(parser: CommandParser) -> None:
    """Add the fields, the places, and how files are copied."""
    add_fields(parser)
    add_place(parser, "to the storage")
    parser.add_argument(
        "--from",
        dest="source",
        metavar="ALIAS",
        help="the storage at Cloudflare (default: that of the field)",
    )
    add_copying(parser)


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    """Copy, or plan to, and say what was left behind."""
    check_rate(options)
    message = "Finishing the current files …" if not options["enqueue"] else "The workers go on."
    with could_not_run(), written_to(options["report"]) as report:
        problems, routes = Problems(report), list(_routes(options))
        exports, is_left = [Export(route, threads=options["threads"]) for route in routes], False
        if options["dry_run"]:
            _plan(command, options, exports, problems)
        else:
            with watching.stopped_by_signals(command, message) as stop:
                is_left = _export(command, options, routes, exports, problems, stop)
    finish(command, problems, is_left=is_left)


def _routes(options: dict[str, Any]) -> Iterator[Route]:
    place = place_of(options)
    if place is None:
        raise ImproperlyConfigured("Say where to: --to ALIAS, or --directory DIR.")
    if places.account_of(place) is not None:
        raise ImproperlyConfigured(f"{place!r} is at Cloudflare: cf_images import copies images there.")
    if options["directory"] is not None:
        _check_folder(place, is_dry=options["dry_run"])
    for field in fields.chosen(options["fields"]):
        route = fields.to_place(field, place)
        if options["source"] is not None:
            route = replace(route, source=options["source"])
        if places.account_of(route.source) is None:
            raise ImproperlyConfigured(f"{route.source!r} is no storage of Cloudflare Images in STORAGES.")
        yield route


def _check_folder(folder: str, *, is_dry: bool) -> None:
    """Make the folder; raise ``ImproperlyConfigured`` where that, or writing there, is not possible."""
    try:
        if not is_dry:
            os.makedirs(folder, exist_ok=True)
        existing = folder
        while not os.path.lexists(existing):
            existing = os.path.dirname(existing)
        if not os.path.isdir(existing):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if not os.access(existing, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ImproperlyConfigured(f"The folder {folder!r} cannot be written: {reason}.") from None


def _plan(command: BaseCommand, options: dict[str, Any], exports: list[Export], problems: Problems) -> None:
    found = _sum(export.plan(problems) for export in exports)
    if options["verbosity"]:
        size = f" ({in_words(found.size)} known)" if found.size else ""
        there = f"{wording.count(found.stored, 'file')} {'is' if found.stored == 1 else 'are'} there already"
        write(command, f"{wording.count(found.pending, 'file')} to copy{size}; {there}.")
    if problems.count:
        write_problem(command, f"{wording.count(problems.count, 'file')} would be left behind:")


def _export(
    command: BaseCommand,
    options: dict[str, Any],
    routes: list[Route],
    exports: list[Export],
    problems: Problems,
    stop: threading.Event,
) -> bool:
    """Fill the ledger, and let it be carried out; return whether anything is left for another time."""
    # A run knows the accounts of its first rows.
    accounts = {account.key for route in routes if (account := places.account_of(route.source))}
    is_early = options["enqueue"] or len(accounts) == 1

    def fill(on_batch: Callable[[], object]) -> None:
        for export in exports:
            export.fill(is_enqueued=options["enqueue"], stop=stop, on_batch=on_batch if is_early else bool)

    chosen = Chosen(partial(ledger.rows_of, routes))
    refusal = carry_out(command, options, chosen, stop, fill=fill)
    found = _sum(
        export.outcome(problems, is_stopped=stop.is_set(), newest=chosen.newest) for export in exports
    )
    if options["verbosity"]:
        there = f"{wording.count(found.stored, 'file')} {'is' if found.stored == 1 else 'are'} in the target"
        write(command, f"{there} ({in_words(found.size)}).")
        if found.newer:
            write(command, files_newer(found.newer))
    place, is_enqueued = place_of(options) or "", options["enqueue"]
    for line in _left(found, problems, place, is_stopped=stop.is_set(), is_enqueued=is_enqueued):
        write_problem(command, one_line(line))
    if refusal:
        refuse(command, problems, refusal)
    return bool(found.pending or stop.is_set())


def _left(
    found: Exported, problems: Problems, place: str, *, is_stopped: bool, is_enqueued: bool
) -> Iterator[str]:
    if found.renamed:
        option = f"--directory {place}" if os.path.isabs(place) else f"--to {place}"
        yield (
            f"{wording.count(found.renamed, 'file')} with another name than rows have: `manage.py cf_images "
            f"switch {option}` writes the names of the files into the rows."
        )
    if found.pending:
        yield files_left(found.pending, is_stopped=is_stopped, is_enqueued=is_enqueued)
    if problems.count:
        yield f"{wording.count(problems.count, 'file')} left behind:"


def _sum(parts: Iterator[Exported]) -> Exported:
    total = Exported()
    for part in parts:
        total.stored += part.stored
        total.renamed += part.renamed
        total.pending += part.pending
        total.newer += part.newer
        total.size += part.size
    return total
