"""``cf_images switch``: give rows the names that their files have at Cloudflare."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from cf_images import conf
from cf_images.background import places, wording
from cf_images.management import watching
from cf_images.management.arguments import add_fields, add_noinput, add_place, place_of
from cf_images.management.output import confirmed, one_line, write, write_problem
from cf_images.management.transferring import COULD_NOT_RUN, could_not_run, finish
from cf_images.transfer import fields
from cf_images.transfer.fields import Route
from cf_images.transfer.report import Problems, written_to
from cf_images.transfer.switching import Switched, revert, switch

SUMMARY = "Give rows the names that files have at Cloudflare"
HELP = (
    "Change the rows whose files have another name at Cloudflare than here, as the ledger of cf_images "
    "import has it: private images, and names that Cloudflare does not take. Where names were kept, nothing "
    "is to be done. Only rows whose file is there are changed, by the value that was read, without signals. "
    "Exit with 1 if a row could not be changed, and with 2 if nothing could."
)


def add_arguments(parser: CommandParser) -> None:
    """Add the fields, the place, and whether to ask."""
    add_options(parser, "names that files have after cf_images export, in the storage")


def add_options(parser: CommandParser, words: str) -> None:
    """Add what ``switch`` and ``revert`` have in common."""
    add_fields(parser)
    add_place(parser, words)
    parser.add_argument("--report", metavar="FILE", help="write what was left behind: .csv or .jsonl")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be changed")
    add_noinput(parser)


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    """Change the rows, or say that nothing is to be done."""
    run(command, options, is_back=False)


def run(command: BaseCommand, options: dict[str, Any], *, is_back: bool) -> None:
    """Do it forth or back."""
    is_dry = options["dry_run"]
    with (
        could_not_run(),
        written_to(options["report"]) as write_line,
        watching.stopped_by_signals(command, "Finishing the current rows …") as stop,
    ):
        place = place_of(options)
        ways = [fields.to_place(field, place) for field in fields.chosen(options["fields"])]
        is_export = place is not None and places.account_of(place) is None
        direction = _Direction(is_back=is_back, is_export=is_export)
        if options["interactive"] and not is_dry:
            would = direction.change(ways, Problems(), dry_run=True, stop=stop)
            question = f"Change the name in {wording.count(would.changed, 'row')}?"
            if stop.is_set() or (would.changed and not confirmed(question)):
                raise CommandError("Nothing was changed.", returncode=COULD_NOT_RUN)
        problems = Problems(write_line)
        done = direction.change(ways, problems, dry_run=is_dry, stop=stop)
        for line in direction.lines(done, problems, is_dry=is_dry):
            write(command, line)
        left = "Stopped. The same command continues." if stop.is_set() else direction.unknown(done)
        if left:
            write_problem(command, left)
        finish(command, problems, is_left=bool(left))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Direction:
    """Forth or back; to Cloudflare, or to where files were exported."""

    is_back: bool
    is_export: bool

    def change(
        self, ways: list[Route], problems: Problems, *, dry_run: bool, stop: threading.Event
    ) -> Switched:
        """Change the rows of all fields."""
        done, change = Switched(), revert if self.is_back else switch
        for route in ways:
            found = change(route, problems, dry_run=dry_run, stop=stop)
            # What was saved on the other side is not in the ledger, and need not be.
            is_at_cloudflare = places.account_of(places.place_of_field(route.field)) is not None
            if is_at_cloudflare != (self.is_back != self.is_export):
                found.unknown = 0
            done.add(found)
        return done

    def lines(self, done: Switched, problems: Problems, *, is_dry: bool) -> Iterator[str]:
        """Yield what was done, or why nothing is to be done."""
        which = "old" if self.is_back else "new"
        if done.changed and not is_dry:
            yield f"{_rows_have(done.changed)} {which} names now."
        elif done.changed:
            yield f"{wording.count(done.changed, 'row')} would get {which} names:"
            yield from ("  " + one_line(f"{old!r} becomes {new!r}") for old, new in done.examples)
            if (more := done.changed - len(done.examples)) > 0:
                yield f"  … and {more:,} more"
        elif done.done:
            yield f"Nothing is to be done: {_rows_have(done.done)} {which} names already."
        elif done.kept:
            yield f"Nothing is to be done: all names were kept. {self._next_step()}"
        elif not (problems.count or done.unknown):
            yield "Nothing is to be done: no row has a file that was copied."

    def _next_step(self) -> str:
        """Return how fields with ``select_storage`` change sides."""
        environments, name = conf.setting("LOCAL_ENVS"), conf.env_name()
        local = ", ".join(map(repr, sorted(environments)))
        is_local = self.is_back != self.is_export
        names = f"one of {local}" if is_local else f"another name than {local}"
        alias = conf.setting("LOCAL_ALIAS" if is_local else "CLOUDFLARE_ALIAS")
        if (name in environments) == is_local:
            return f"ENV_NAME is {name!r}: select_storage uses {alias!r} already."
        return f"Set ENV_NAME to {names}: select_storage uses {alias!r} then."

    def unknown(self, done: Switched) -> str:
        """Return what to do about rows that are not in the ledger."""
        if not done.unknown:
            return ""
        rows = _rows_have(done.unknown)
        command = "export" if self.is_back != self.is_export else "import"
        if self.is_back:
            return f"{rows} an image that was saved since the switch: cf_images {command} copies it."
        return f"{rows} a name that is not in the ledger: run cf_images {command} first."


def _rows_have(number: int) -> str:
    return f"{wording.count(number, 'row')} {'has' if number == 1 else 'have'}"
