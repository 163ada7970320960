"""``cf_images uploads``: the state of background uploads; its exit status is a health check."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentTypeError
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from cf_images.background import Status, status, wording
from cf_images.background.reporting import (
    IDLE,
    LATE,
    all_rejected,
    oldest_pending,
    other_account,
    unknown_storage,
)
from cf_images.management.output import one_line, write, write_problem
from cf_images.models import Upload

SUMMARY = "Print what is pending, for how long and why"
HELP = (
    "Print what is pending, rejected and paused, with names, reasons and since when. Exit with 1 for a "
    "paused account, rejected images, images pending for more than ten minutes, or work without a worker."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is beyond a threshold; ``name`` is stable, for machines."""

    name: str
    message: str


def add_arguments(parser: CommandParser) -> None:
    """Add the thresholds, each of which may be ``none``, and how the state is printed."""
    late, idle = int(LATE.total_seconds()), int(IDLE.total_seconds())
    for name, metavar, default, words in (
        ("--max-age", "SECONDS", late, "age of the oldest pending image"),
        ("--max-pending", "N", None, "pending images"),
        ("--max-rejected", "N", 0, "rejected images"),
        ("--max-idle", "SECONDS", idle, "time for which work is due and no worker is active"),
    ):
        words = f"{words}; 'none' for no limit (default: {'none' if default is None else default})"
        parser.add_argument(name, metavar=metavar, type=_limit, default=default, help=words)
    parser.add_argument("--allow-paused", action="store_true", help="a paused account is no problem")
    parser.add_argument("--names", metavar="N", type=int, default=10, help="pending images to name (10)")
    parser.add_argument("--json", action="store_true", help="one JSON document, for machines")


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    """Print the state, then what is beyond its threshold."""
    found = status()
    pending, problems = oldest_pending(max(0, options["names"])), list(_problems(found, options))
    if options["json"]:
        document = _document(found, pending, problems)
        command.stdout.write(json.dumps(document, indent=2))
    else:
        for line in _lines(found, pending):
            write(command, line)
        for problem in problems:
            write_problem(command, one_line(problem.message))
    if problems:
        sys.exit(1)


def _limit(text: str) -> int | None:
    if text == "none":
        return None
    if not text.isdecimal():
        raise ArgumentTypeError(f"{text!r} is neither a number nor 'none'.")
    return int(text)


def _problems(found: Status, options: dict[str, Any]) -> Iterator[Problem]:
    max_age, max_idle = _seconds(options["max_age"]), _seconds(options["max_idle"])
    age = found.oldest_pending_age
    if age is not None and max_age is not None and age > max_age:
        limit = wording.duration(max_age)
        message = f"The oldest pending image is {wording.duration(age)} old; the limit is {limit}."
        yield Problem(name="max-age", message=message)
    for what, value in (("pending", found.pending), ("rejected", found.rejected)):
        maximum = options[f"max_{what}"]
        if maximum is not None and value > maximum:
            message = f"{wording.images_are(value)} {what}; the limit is {maximum:,}."
            yield Problem(name=f"max-{what}", message=message)
    if max_idle is not None and (message := found.idle_problem(max_idle)):
        yield Problem(name="max-idle", message=message)
    for account in () if options["allow_paused"] else found.paused:
        if not account.is_over or found.pending or found.deleting:
            yield Problem(name="paused", message=str(account))
    for alias in found.unknown_storages:
        yield Problem(name="unknown-storage", message=unknown_storage(alias))
    for alias in found.other_accounts:
        yield Problem(name="other-account", message=other_account(alias))


def _seconds(limit: int | None) -> timedelta | None:
    return None if limit is None else timedelta(seconds=limit)


def _lines(found: Status, pending: list[Upload]) -> Iterator[str]:
    age, last = found.oldest_pending_age, found.last_processed_at
    yield f"pending     {found.pending:>8,}" + (f"  oldest: {wording.duration(age)}" if age else "")
    yield f"rejected    {found.rejected:>8,}"
    yield f"deleting    {found.deleting:>8,}"
    yield f"stored      {found.stored:>8,}"
    yield f"worker      {'last active at ' + wording.moment(last) if last else 'never active'}"
    for account in found.paused:
        yield f"paused      {one_line(str(account))}"
    if not found.paused:
        yield "paused      no account"
    if pending:
        more = found.pending - len(pending)
        yield f"\nPending, oldest first{f' ({more:,} more)' if more > 0 else ''}:"
        paused = {alias for account in found.paused for alias in account.aliases}
        yield from (_pending_line(upload, is_paused=upload.storage in paused) for upload in pending)
    if found.rejected:
        yield "\nRejected; the bytes are still here, and the admin can retry or delete them:"
        yield from map(_rejected_line, all_rejected())


def _pending_line(upload: Upload, *, is_paused: bool) -> str:
    now = timezone.now()
    attempts = wording.count(upload.attempts, "attempt")
    what_next = "paused" if is_paused else "due now"
    if upload.lease:
        what_next = "in work"
    elif upload.next_attempt_at and upload.next_attempt_at > now:
        what_next = f"next at {wording.moment(upload.next_attempt_at)}"
    return _line(upload, f"for {wording.duration(now - upload.created_at)}, {attempts}, {what_next}")


def _rejected_line(upload: Upload) -> str:
    return _line(upload, f"accepted {wording.duration(timezone.now() - upload.created_at)} ago")


def _line(upload: Upload, facts: str) -> str:
    reason = f": {reason_in_words(upload)}" if upload.last_error else ""
    return "  " + one_line(f"{upload.name} ({upload.storage}): {facts}{reason}")


def reason_in_words(upload: Upload) -> str:
    """Return the last error with Cloudflare's code."""
    return f"{upload.last_error} ({upload.last_code})" if upload.last_code else upload.last_error


def _document(found: Status, pending: Iterable[Upload], problems: Iterable[Problem]) -> dict[str, Any]:
    """Return the state for machines; the keys are documented and stay."""
    listed = [{"name": problem.name, "message": problem.message} for problem in problems]
    age, idle = found.oldest_pending_age, found.idle
    return {
        "healthy": not listed,
        "problems": listed,
        "pending": found.pending,
        "rejected": found.rejected,
        "deleting": found.deleting,
        "stored": found.stored,
        "oldest_pending_at": _iso(found.oldest_pending_at),
        "oldest_pending_seconds": None if age is None else round(age.total_seconds()),
        "last_processed_at": _iso(found.last_processed_at),
        "idle_seconds": None if idle is None else round(idle.total_seconds()),
        "paused": [
            {
                "storages": list(account.aliases),
                "since": _iso(account.paused_since),
                "until": _iso(account.paused_until),
                "reason": account.reason,
            }
            for account in found.paused
        ],
        "unknown_storages": list(found.unknown_storages),
        "other_accounts": list(found.other_accounts),
        "oldest_pending": [_image(upload) for upload in pending],
        "rejected_images": [_image(upload) for upload in all_rejected()],
    }


def _image(upload: Upload) -> dict[str, Any]:
    return {
        "name": upload.name,
        "storage": upload.storage,
        "accepted_at": _iso(upload.created_at),
        "attempts": upload.attempts,
        "next_attempt_at": _iso(upload.next_attempt_at),
        "reason": upload.last_error,
        "code": upload.last_code,
    }


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
