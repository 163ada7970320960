"""``cf_images doctor``: print what ``cf_images.doctor`` finds; exit with 1 if anything fails."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from itertools import groupby
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandParser

from cf_images import conf
from cf_images.accounts import backend_options
from cf_images.doctor import Finding, Level, examine, examine_templates
from cf_images.management.arguments import add_storage, no_storage
from cf_images.management.output import can_write, one_line, write

SUMMARY = "Examine settings, templates and accounts"
HELP = "Examine settings, templates and accounts, and say what is wrong and what to do about it."

_MARKS = {Level.OK: "✓", Level.WARNING: "!", Level.FAILURE: "✗", Level.SKIPPED: "–"}
_PLAIN_MARKS = {Level.OK: "+", Level.WARNING: "!", Level.FAILURE: "x", Level.SKIPPED: "-"}
_STYLES = {Level.OK: "SUCCESS", Level.WARNING: "WARNING", Level.FAILURE: "ERROR", Level.SKIPPED: "NOTICE"}


def add_arguments(parser: CommandParser) -> None:
    """Add what is examined, and how it is printed."""
    add_storage(parser)
    parser.add_argument("--probe", action="store_true", help="upload, request and delete a tiny image")
    parser.add_argument("--templates", action="store_true", help="only the templates; no request")
    parser.add_argument("--json", action="store_true", help="one JSON document, for machines")
    parser.add_argument("--fail-on-warning", action="store_true", help="exit with 1 for warnings, too")
    parser.set_defaults(skip_checks=True)  # it runs where checks fail, and reports them


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    """Examine, and print each line as soon as it is known."""
    _check_alias(options["storage"])
    if options["templates"]:
        findings = examine_templates()
    else:
        findings = examine(storage=options["storage"], probe=options["probe"])
    found = _as_json(command, findings) if options["json"] else _as_lines(command, findings)
    bad = {Level.FAILURE, Level.WARNING} if options["fail_on_warning"] else {Level.FAILURE}
    if any(finding.level in bad for finding in found):
        sys.exit(1)


def _check_alias(chosen: str | None) -> None:
    try:
        known = backend_options()
    except ImproperlyConfigured:
        return  # a finding reports it
    if chosen is not None and chosen not in known:
        raise no_storage(chosen)


def _as_json(command: BaseCommand, findings: Iterable[Finding]) -> list[Finding]:
    found = list(findings)
    document = {
        "healthy": not any(finding.level is Level.FAILURE for finding in found),
        "environment": conf.env_name(),
        "counts": _counts(found),
        "findings": [asdict(finding) for finding in found],
    }
    command.stdout.write(json.dumps(document, indent=2))
    return found


def _as_lines(command: BaseCommand, findings: Iterable[Finding]) -> list[Finding]:
    found: list[Finding] = []
    marks = _MARKS if can_write(command.stdout, "".join(_MARKS.values())) else _PLAIN_MARKS
    for storages, group in groupby(findings, key=lambda finding: finding.storages):
        write(command, f"{', '.join(storages) or 'project'}:")
        for finding in group:
            found.append(finding)
            style = getattr(command.style, _STYLES[finding.level])
            write(command, f"  {style(marks[finding.level])} {one_line(finding.message)}")
            if finding.hint:
                write(command, f"      {one_line(finding.hint)}")
    write(command, ", ".join(_counted(level, count) for level, count in _counts(found).items()))
    return found


def _counted(level: str, count: int) -> str:
    """Return ``1 failure`` or ``2 failures``; ``ok`` and ``skipped`` have no plural."""
    has_plural = level in (Level.FAILURE, Level.WARNING)
    return f"{count} {level}{'s' if has_plural and count != 1 else ''}"


def _counts(found: Iterable[Finding]) -> dict[str, int]:
    counted = Counter(finding.level for finding in found)
    return {level.value: counted[level] for level in Level}
