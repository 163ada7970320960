"""``cf_images verify``: prove that the files of all rows are where they were copied to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from cf_images.background import wording
from cf_images.background.maintenance import copy_again
from cf_images.management import watching
from cf_images.management.arguments import add_fields, add_place, place_of
from cf_images.management.output import one_line, write
from cf_images.management.transferring import (
    Progress,
    could_not_run,
    finish,
    rate,
    refuse,
    threads,
)
from cf_images.transfer import fields
from cf_images.transfer.comparison import Kind
from cf_images.transfer.fields import Route
from cf_images.transfer.report import MAX_LISTED, FileProblem, Problems, written_to
from cf_images.transfer.verification import Checked, Verification, routes_of

SUMMARY = "Compare rows with the copies of their files"
HELP = (
    "Compare the rows with the ledger, and the ledger with Cloudflare: each image is there, is no draft and "
    "has the recorded size; with --bytes, each original is read back and hashed. After an export, its files "
    "are read and hashed. Exit with 1 if anything is missing or different, and with 2 if it could not run."
)


def add_arguments(parser: CommandParser) -> None:
    """Add the fields, the place, and how thoroughly and how fast."""
    add_fields(parser)
    add_place(parser, "only the copies in the storage")
    parser.add_argument("--bytes", action="store_true", help="read every original back, and hash it")
    parser.add_argument(
        "--threads", metavar="N", type=threads, default=4, help="files at a time (default: 4)"
    )
    parser.add_argument("--rate", metavar="N", type=rate, help="at most N requests a second")
    parser.add_argument(
        "--repair", action="store_true", help="let the next import or export copy again what is missing"
    )
    parser.add_argument("--report", metavar="FILE", help="write all that is different: .csv or .jsonl")


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    """Check, print a summary, and what is different."""
    with (
        could_not_run(),
        written_to(options["report"]) as write_line,
        watching.stopped_by_signals(command, "Finishing the current files …") as stop,
    ):
        routes, found = list(_routes(options["fields"], place_of(options))), _Found(Problems(write_line))
        with Progress(command, options) as progress:

            def on_checked(checked: Checked) -> None:
                found.add(checked)
                progress.advance()

            verification = Verification(
                on_checked,
                threads=options["threads"],
                read_bytes=options["bytes"],
                rate=options["rate"],
                stop=stop,
            )
            verification.run(routes)
        is_stopped = stop.is_set() and not verification.problem
        for line in found.lines(read_bytes=options["bytes"], is_stopped=is_stopped):
            write(command, line)
        if options["repair"]:
            again = copy_again(found.missing)
            write(command, f"{wording.count(again, 'file')} to be copied again: run the import or export.")
        if verification.problem:
            refuse(command, found.problems, verification.problem)
        finish(command, found.problems, is_left=is_stopped)


def _routes(labels: list[str], place: str | None) -> Iterator[Route]:
    for field in fields.chosen(labels):
        route = fields.to_place(field, place)
        yield from [route] if place else routes_of(route)


class _Found:
    """What was found so far: numbers, and the first of the files that are different."""

    def __init__(self, problems: Problems) -> None:
        self.problems = problems
        self.missing: list[int] = []  # keys of transfers
        self._counts = Counter[Kind]()
        self._encoded_anew: list[Checked] = []

    def add(self, checked: Checked) -> None:
        """Take note of a file."""
        self._counts[checked.result.kind] += 1
        if checked.result.kind is Kind.OTHER_BYTES:
            if len(self._encoded_anew) < MAX_LISTED:
                self._encoded_anew.append(checked)
        elif checked.result.kind not in (Kind.EQUAL, Kind.THERE):
            if checked.result.kind is Kind.MISSING and checked.transfer_id is not None:
                self.missing.append(checked.transfer_id)
            self.problems.add(
                FileProblem(field=checked.field, name=checked.name, reason=checked.result.reason)
            )

    def lines(self, *, read_bytes: bool, is_stopped: bool) -> Iterator[str]:
        """Yield the summary, and a line for each image that Cloudflare has encoded anew."""
        if is_stopped:
            yield "Stopped before the end; nothing was changed."
        how = "byte for byte" if read_bytes else "as the ledger has them"
        yield f"{wording.count(self._counts[Kind.EQUAL], 'file')} equal, {how}."
        if there := self._counts[Kind.THERE]:
            yield f"{wording.count(there, 'file')} there, by URL, and not in the ledger: nothing to compare."
        if bad := self.problems.count:
            yield f"{wording.count(bad, 'file')} missing, different or not in the ledger:"
        if anew := self._counts[Kind.OTHER_BYTES]:
            yield (
                f"{wording.count(anew, 'very large image')} with other bytes than were sent, as Cloudflare"
                " may return such images:"
            )
        for checked in self._encoded_anew:
            yield "  " + one_line(f"{checked.name!r} ({checked.field}): {checked.result.reason}")
        if (more := anew - len(self._encoded_anew)) > 0:
            yield f"  … and {more:,} more"
