"""``cf_images import``: copy the files that rows refer to, from any storage to Cloudflare Images."""

from __future__ import annotations

import os
import threading
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from time import monotonic
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandParser

from cf_images import conf
from cf_images.background import wording
from cf_images.background.copying import CopyOptions
from cf_images.images.converting import TARGETS
from cf_images.management import watching
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
from cf_images.transfer import dimensions, fields, ledger, plan
from cf_images.transfer.fields import Route
from cf_images.transfer.ledger import Outcome, Totals
from cf_images.transfer.report import Problems, written_to

SUMMARY = "Copy the files of image fields to Cloudflare Images"
HELP = (
    "Copy the files that rows refer to from any storage to Cloudflare Images, under the same names wherever "
    "Cloudflare takes them. Rows and sources stay as they are. Run again, it continues. Exit with 0 if all "
    "files are there, 1 if some were left behind, 2 if it could not run."
)


def add_arguments(parser: CommandParser) -> None:
    """Add the fields, the places, and how files are copied."""
    parser.add_argument(
        "fields",
        nargs="*",
        metavar="app.Model.field",
        help="default: every ImageField that is, or would be in production, at Cloudflare Images",
    )
    parser.add_argument(
        "--from",
        dest="source",
        metavar="PLACE",
        help="where the files are: an alias in STORAGES, or a folder (default: the storage of the field)",
    )
    parser.add_argument("--to", dest="target", metavar="ALIAS", help="the storage at Cloudflare Images")
    add_copying(parser)
    parser.add_argument(
        "--batch", action="store_true", help="use Cloudflare's batch host: up to 200 requests a second"
    )
    parser.add_argument("--fit-limits", action="store_true", help="make images smaller that are too large")
    parser.add_argument(
        "--convert",
        type=_formats,
        action="append",
        default=[],
        metavar="FORMATS=FORMAT",
        help="convert formats that Cloudflare refuses, such as bmp,tiff=png; may be given several times",
    )
    parser.add_argument(
        "--dimensions", action="store_true", help="fill empty width and height columns afterwards"
    )


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    """Copy, or plan to, and say what was left behind."""
    check_rate(options)
    message = "Finishing the current files …" if not options["enqueue"] else "The workers go on."
    with could_not_run(), written_to(options["report"]) as report:
        problems, routes = Problems(report), _routes(options)
        for line in _sites(routes):
            write_problem(command, one_line(line))
        with watching.stopped_by_signals(command, message) as stop:
            work = _plan if options["dry_run"] else _import
            is_left = work(command, options, routes, problems, stop)
    finish(command, problems, is_left=is_left)


def _formats(text: str) -> dict[str, str]:
    from PIL import Image

    given, equals, target = text.lower().partition("=")
    if not equals:
        raise ArgumentTypeError(f"{text!r} does not say to which format; write, for example, bmp,tiff=png.")
    sources = [{"tif": "tiff", "jpg": "jpeg"}.get(part.strip(), part.strip()) for part in given.split(",")]
    Image.init()
    known = {name.lower() for name in Image.OPEN}
    if unknown := [source for source in sources if source not in known]:
        raise ArgumentTypeError(f"Pillow reads no format {unknown[0]!r}; write, for example, bmp,tiff=png.")
    if target.strip() not in TARGETS:
        raise ArgumentTypeError(
            f"{target!r} is none of {', '.join(TARGETS)}; write, for example, bmp,tiff=png."
        )
    return dict.fromkeys(sources, target.strip())


def _routes(options: dict[str, Any]) -> list[Route]:
    source = options["source"]
    # Workers may have a folder that is not on this machine.
    if source and os.path.isabs(source) and not os.path.isdir(source) and not options["enqueue"]:
        raise ImproperlyConfigured(f"There is no folder {source!r}: name where the files are.")
    chosen = fields.chosen(options["fields"])
    return [fields.to_cloudflare(field, source=source, target=options["target"]) for field in chosen]


def _copy_options(options: dict[str, Any]) -> CopyOptions:
    convert = {source: target for given in options["convert"] for source, target in given.items()}
    return CopyOptions(fit_limits=options["fit_limits"], convert=convert)


def _say(command: BaseCommand, options: dict[str, Any]) -> Callable[[str], None]:
    return lambda line: write(command, one_line(line)) if options["verbosity"] else None


def _sites(routes: list[Route]) -> Iterator[str]:
    """Yield what to do about images that would be marked as those of an environment that is local."""
    if conf.env_name() not in conf.setting("LOCAL_ENVS"):
        return
    sites = {route.target: account.options.site for route in routes if (account := route.account)}
    for alias, site in sites.items():
        if site == conf.default_site():
            yield (
                f"The images belong to the site {site!r}, which changes with ENV_NAME, and `cf_images "
                f"orphans` examines only those of the site that it runs in: give STORAGES[{alias!r}] the "
                f'option "site" before.'
            )


# What would be done


def _plan(
    command: BaseCommand,
    options: dict[str, Any],
    routes: list[Route],
    problems: Problems,
    stop: threading.Event,
) -> bool:
    """Print a plan; return whether it is incomplete."""
    say = _say(command, options)
    chosen = _copy_options(options)
    made = plan.make(
        routes, chosen, problems, threads=options["threads"], is_batch=options["batch"], stop=stop
    )
    for line in plan.lines(made, rate=options["rate"], is_batch=options["batch"]):
        say(line)
    if stop.is_set():
        write_problem(command, "Stopped: not all files were examined.")
    if problems.count:
        write_problem(command, f"{wording.count(problems.count, 'file')} would be left behind:")
    return stop.is_set()


# What is done


def _import(
    command: BaseCommand,
    options: dict[str, Any],
    routes: list[Route],
    problems: Problems,
    stop: threading.Event,
) -> bool:
    """Fill the ledger, and let it be carried out; return whether anything is left for another time."""
    say, began = _say(command, options), monotonic()
    for route in routes:
        _check_credentials(route, is_enqueued=options["enqueue"])
    before = ledger.totals(routes)
    chosen = Chosen(partial(ledger.rows_of, routes))
    refusal = carry_out(command, options, chosen, stop, fill=partial(_fill, options, routes, stop))
    if options["dimensions"] and not stop.is_set():
        filled = sum(map(dimensions.fill, routes))
        say(f"The dimensions of {wording.count(filled, 'row')} were filled in.")
    found = ledger.outcome(routes, problems, is_stopped=stop.is_set(), newest=chosen.newest)
    say(_summary(found, before, ledger.totals(routes), monotonic() - began))
    if found.newer:
        say(files_newer(found.newer))
    _write_left(command, found, problems, is_stopped=stop.is_set(), is_enqueued=options["enqueue"])
    if refusal:
        refuse(command, problems, refusal)
    return bool(found.pending or stop.is_set())


def _check_credentials(route: Route, *, is_enqueued: bool) -> None:
    """Raise ``ImproperlyConfigured`` for what each request would fail at; workers have their own token."""
    if account := route.account:
        account.options.require("account_id")
        if not is_enqueued:
            account.options.require("api_token")


def _fill(
    options: dict[str, Any], routes: list[Route], stop: threading.Event, on_batch: Callable[[], object]
) -> None:
    chosen = asdict(_copy_options(options))
    # A run knows the accounts of the rows that it begins with.
    is_early = options["enqueue"] or len({account.key for route in routes if (account := route.account)}) == 1
    for route in routes:
        ledger.fill(
            route,
            chosen,
            is_enqueued=options["enqueue"],
            is_batch=options["batch"],
            stop=stop,
            on_batch=on_batch if is_early else bool,
        )


def _summary(found: Outcome, before: Totals, after: Totals, seconds: float) -> str:
    copied, size = max(0, after.stored - before.stored), max(0, after.size - before.size)
    length = wording.duration(timedelta(seconds=seconds))
    there = f"{wording.count(found.stored, 'file')} {'is' if found.stored == 1 else 'are'}"
    return f"{wording.count(copied, 'file')} copied ({plan.in_words(size)}) in {length}; {there} there now."


def _write_left(
    command: BaseCommand, found: Outcome, problems: Problems, *, is_stopped: bool, is_enqueued: bool
) -> None:
    if found.renamed:
        write_problem(
            command,
            f"{wording.count(found.renamed, 'file')} could not keep the name that rows have: `manage.py "
            f"cf_images switch` writes the new names into the rows.",
        )
    if found.pending:
        write_problem(command, files_left(found.pending, is_stopped=is_stopped, is_enqueued=is_enqueued))
    if problems.count:
        write_problem(command, f"{wording.count(problems.count, 'file')} left behind:")
