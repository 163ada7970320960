"""``cf_images orphans``: images that no row uses, and rows whose image is not there."""

from __future__ import annotations

import json
import re
import sys
import time
from argparse import ArgumentTypeError
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error

from cf_images.accounts import Account, accounts_by_key
from cf_images.background import tables, wording
from cf_images.exceptions import CloudflareImagesError
from cf_images.management.arguments import add_noinput, add_storage, check_storage
from cf_images.management.output import confirmed, one_line, write, write_problem
from cf_images.transfer import orphan_report
from cf_images.transfer.orphan_deletion import Deletion, Done, due
from cf_images.transfer.orphans import Found, Missing, Options, Orphan, Search
from cf_images.transfer.pacing import PacedRequests
from cf_images.transfer.report import Write

SUMMARY = "Find images that no row uses, and delete them"
HELP = (
    "List the images of this project that no row of any database uses, and the rows whose image is not at "
    "Cloudflare. Nothing is deleted without --delete. Exit with 1 if anything was found and is left, with 2 "
    "if something could not be read."
)
_OLDER_THAN = timedelta(days=7)
_YOUNGEST = timedelta(hours=1)  # a request that has uploaded an image may not have committed its row yet
_UNITS = {"h": "hours", "d": "days", "w": "weeks"}
_MAX_DELETE = 5.0  # percent
_MAX_LINES = 20  # of each kind
_PROGRESS_SECONDS = 10.0


def add_arguments(parser: CommandParser) -> None:
    """Add what is searched, what is deleted, and the report."""
    add_storage(parser)
    parser.add_argument("--delete", action="store_true", help="delete the orphans, after a confirmation")
    parser.add_argument(
        "--quarantine",
        action="store_true",
        help="tag orphans first; --delete deletes those that were tagged --older-than ago",
    )
    parser.add_argument(
        "--older-than",
        metavar="DAYS",
        type=_age,
        default=_OLDER_THAN,
        help="only images uploaded so long ago: 7 or 7d are days, 12h hours (default: 7d)",
    )
    parser.add_argument(
        "--max-delete",
        metavar="PERCENT",
        type=_percent,
        default=_MAX_DELETE,
        help="delete nothing if more of the listed images would be deleted (default: 5)",
    )
    parser.add_argument(
        "--no-text-scan",
        action="store_true",
        help="do not search texts and JSON for names and URLs: only file fields count as use",
    )
    parser.add_argument("--report", metavar="FILE", help="write all findings to this .csv or .jsonl file")
    parser.add_argument("--json", action="store_true", help="one JSON document, for machines")
    add_noinput(parser)


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    """Search each account, and delete what may be deleted."""
    if options["json"] and options["delete"] and options["interactive"]:
        raise CommandError("--json asks nothing: give --noinput with --delete.", returncode=2)
    try:
        with tables.required(), orphan_report.opened(options["report"]) as report:
            runs = [_Run(command, options, accounts, report) for accounts in _accounts(options["storage"])]
            left = [run for run in runs if not run.is_clean()]
    except (CloudflareImagesError, ImproperlyConfigured, Error, OSError) as error:
        raise CommandError(one_line(str(error)), returncode=2) from None
    except KeyboardInterrupt:
        raise CommandError("Stopped. The same command goes on.") from None
    if options["json"]:
        command.stdout.write(json.dumps({"accounts": [run.document for run in runs]}, indent=2))
    if left:
        sys.exit(1)


def _accounts(alias: str | None) -> list[list[Account]]:
    """Return the accounts to search; each with the aliases of which it has images."""
    check_storage(alias)
    found = list(accounts_by_key().values())
    if alias is not None:
        found = [[account for account in accounts if account.alias == alias] for accounts in found]
    found = [accounts for accounts in found if accounts]
    if not found:
        raise ImproperlyConfigured("No alias in STORAGES is a CloudflareImagesStorage.")
    return found


class _Run:
    """The search in one account, and what follows."""

    def __init__(
        self, command: BaseCommand, options: dict[str, Any], accounts: list[Account], report: Write
    ) -> None:
        self._command, self._given, self._report = command, options, report
        self._storage = ", ".join(str(account.alias) for account in accounts)
        self._sites = list(dict.fromkeys(account.options.site for account in accounts))
        if not all(self._sites):
            raise ImproperlyConfigured(
                f"{self._storage} has no site, which tells this project's images from others: set the option "
                f"site, and upload with it."
            )
        self._options = Options.since(
            options["older_than"], sites=self._sites, with_texts=not options["no_text_scan"]
        )
        requests = PacedRequests(accounts[0])
        self._search = Search(accounts[0], requests, self._options, progress=self._progress)
        self._deletion = Deletion(requests, self._options)
        self._progress_at = time.monotonic() + _PROGRESS_SECONDS
        self.document: dict[str, Any] = {}

    def is_clean(self) -> bool:
        """Search and delete; return whether nothing is left to report."""
        found = self._search.run()
        for record in orphan_report.findings(self._storage, found):
            self._report(record)
        self._print(_found_lines(self._storage, self._sites, found, self._given["older_than"]))
        outcomes = list(self._settle(found))
        counted = Counter(done.outcome for done in outcomes)
        self._print(f"{number:,} {outcome}." for outcome, number in sorted(counted.items()))
        self.document = {"storage": self._storage, "sites": self._sites, **asdict(found)}
        self.document["outcomes"] = [asdict(done) for done in outcomes]
        left = len(found.orphans) - counted["deleted"]
        return not (left or found.missing or found.unclear or found.overfull)

    def _settle(self, found: Found) -> Iterator[Done]:
        delete, quarantine = self._given["delete"], self._given["quarantine"]
        chosen = due(found, self._options, quarantine=quarantine) if delete else []
        if chosen and not self._may_delete(chosen, found):
            return
        try:
            for done in self._deletion.settle(found, delete=delete, quarantine=quarantine):
                self._report(orphan_report.outcome(self._storage, done))
                self._print([": ".join(filter(None, (done.outcome, done.image_id, done.reason)))])
                yield done
        except CloudflareImagesError as error:
            self._problem(f"The rest is left: {error}")

    def _may_delete(self, orphans: list[Orphan], found: Found) -> bool:
        percent, allowed = 100 * len(orphans) / found.listed, self._given["max_delete"]
        images = wording.count(len(orphans), "image")
        if percent > allowed:
            self._problem(
                f"Nothing is deleted: {images} would be {percent:.2f} % of those listed, and --max-delete is "
                f"{allowed:g}. Check that all databases are here and that no other project has this site; "
                f"then raise --max-delete."
            )
            return False
        if not self._given["interactive"]:
            return True
        sites = ", ".join(self._sites)
        return self._is_confirmed(f"Delete {images} of the site {one_line(sites)} at Cloudflare for good?")

    def _is_confirmed(self, question: str) -> bool:
        if confirmed(question):
            return True
        self._problem("Nothing is deleted.")
        return False

    def _print(self, lines: Iterable[str]) -> None:
        for line in () if self._given["json"] else lines:
            write(self._command, one_line(line))

    def _problem(self, line: str) -> None:
        write_problem(self._command, one_line(line))

    def _progress(self, line: str) -> None:
        now = time.monotonic()
        if now >= self._progress_at:
            self._progress_at = now + _PROGRESS_SECONDS
            self._print([line])


def _found_lines(storage: str, sites: list[str], found: Found, older_than: timedelta) -> Iterator[str]:
    yield (
        f"{storage}, site {', '.join(sites)}: {wording.count(found.listed, 'image')} listed, "
        f"{found.in_use:,} in use, {found.young:,} not in use and younger than "
        f"{wording.duration(older_than)}, {wording.count(len(found.orphans), 'orphan')}."
    )
    if found.others:
        yield (
            f"{wording.count(found.others, 'other image')} of the account: of another site, or not stored by "
            f"this package. They are left alone."
        )
    for second in found.overfull:
        yield f"The list may be incomplete: too many images were uploaded at {_moment(second)}."
    yield from _some("orphan", map(_orphan_line, found.orphans), len(found.orphans))
    yield from _some("missing", map(_missing_line, found.missing), len(found.missing))
    unclear = (f"{one.name}: {one.reason}" for one in found.unclear)
    yield from _some("unclear", unclear, len(found.unclear))


def _some(kind: str, lines: Iterable[str], count: int) -> Iterator[str]:
    for line in islice(lines, _MAX_LINES):
        yield f"{kind}: {line}"
    if count > _MAX_LINES:
        yield f"{kind}: … and {count - _MAX_LINES:,} more; --report FILE lists all."


def _orphan_line(orphan: Orphan) -> str:
    facts = [f"uploaded {_moment(orphan.uploaded)}"]
    if orphan.size is not None:
        facts.append(wording.count(orphan.size, "byte"))
    if orphan.quarantined is not None:
        facts.append(f"quarantined {_moment(orphan.quarantined)}")
    named = f"{orphan.name} " if orphan.name else ""
    return f"{named}{orphan.image_id} ({', '.join(facts)})"


def _missing_line(missing: Missing) -> str:
    others = f" and {missing.rows - 1:,} more" if missing.rows > 1 else ""
    return f"{missing.name} ({missing.field}, row {missing.pk}{others}): {missing.reason}"


def _moment(second: int) -> str:
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _age(text: str) -> timedelta:
    found = re.fullmatch(r"([0-9]{1,5})([hdw]?)", text)
    if not found:
        raise ArgumentTypeError(f"{text!r} is no number of days such as 7 or 7d, nor of hours such as 12h.")
    age = timedelta(**{_UNITS[found[2] or "d"]: int(found[1])})
    if age < _YOUNGEST:
        raise ArgumentTypeError(
            f"{text!r} is less than an hour: the rows of such images may not be committed yet."
        )
    return age


def _percent(text: str) -> float:
    try:
        percent = float(text)
    except ValueError:
        percent = -1.0
    if not 0 <= percent <= 100:
        raise ArgumentTypeError(f"{text!r} is no percentage from 0 to 100.")
    return percent
