"""``cf_images doctor``: prints what ``cf_images.doctor`` finds; exit status 1 where anything fails."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from itertools import groupby
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser

from cf_images import conf
from cf_images.checks import cloudflare_options
from cf_images.doctor import Finding, Level, examine, examine_templates

HELP = "Examine settings, templates and accounts, and say what is wrong and what to do about it."

_MARKS = {Level.OK: "✓", Level.WARNING: "!", Level.FAILURE: "✗", Level.SKIPPED: "–"}
_PLAIN_MARKS = {Level.OK: "+", Level.WARNING: "!", Level.FAILURE: "x", Level.SKIPPED: "-"}
_COUNTED = {"ok": "ok", "warning": "warning(s)", "failure": "failure(s)", "skipped": "skipped"}
_STYLES = {Level.OK: "SUCCESS", Level.WARNING: "WARNING", Level.FAILURE: "ERROR", Level.SKIPPED: "NOTICE"}


def add_arguments(parser: CommandParser) -> None:
    """What to look at, and how to say it."""
    parser.add_argument("--storage", metavar="ALIAS", help="only the account of this storage (default: all)")
    parser.add_argument("--probe", action="store_true", help="upload a tiny image, open it and delete it")
    parser.add_argument("--templates", action="store_true", help="only the templates; no network")
    parser.add_argument("--json", action="store_true", help="one JSON document, for machines")
    parser.add_argument("--fail-on-warning", action="store_true", help="exit with 1 for warnings, too")
    parser.set_defaults(skip_checks=True)  # it runs where checks fail, and says what they say


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    """Examine and print; each line as soon as it is known."""
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
        known = cloudflare_options()
    except ImproperlyConfigured:
        return  # a finding says it
    if chosen is not None and chosen not in known:
        names = ", ".join(known) or "there is none"
        raise CommandError(f"{chosen} in STORAGES is no Cloudflare Images storage ({names}).")


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
    marks = _MARKS if _encoded(command, "".join(_MARKS.values())) else _PLAIN_MARKS
    for storages, group in groupby(findings, key=lambda finding: finding.storages):
        _write(command, f"{', '.join(storages) or 'project'}:")
        for finding in group:
            found.append(finding)
            style = getattr(command.style, _STYLES[finding.level])
            _write(command, f"  {style(marks[finding.level])} {_shown(finding.message)}")
            if finding.remedy:
                _write(command, f"      {_shown(finding.remedy)}")
    _write(command, ", ".join(f"{count} {_COUNTED[level]}" for level, count in _counts(found).items()))
    return found


def _counts(found: Iterable[Finding]) -> dict[str, int]:
    counted = Counter(finding.level for finding in found)
    return {level.value: counted[level] for level in Level}


def _shown(text: str) -> str:
    """On one line, and without what a terminal would obey: others chose some of the words."""
    return "".join(sign if sign.isprintable() else "?" for sign in " ".join(text.split()))


def _write(command: BaseCommand, line: str) -> None:
    if not _encoded(command, line):
        line = line.encode("ascii", "replace").decode()
    command.stdout.write(line)


def _encoded(command: BaseCommand, text: str) -> bool:
    """Whether the stream can write it."""
    try:
        text.encode(getattr(command.stdout, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
