"""What was left behind: the first lines for a person, all of it in a file for a spreadsheet or a program."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from django.core.exceptions import ImproperlyConfigured

MAX_LISTED = 20  # lines for a person
# What spreadsheets take for the beginning of a formula ("CSV Injection", OWASP), also in full width.
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20", "\t", "\r", "\n")
_COLUMNS = ("field", "name", "reason")

Write = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileProblem:
    """A file that something is wrong with; ``field`` is ``app.Model.field``."""

    field: str
    name: str
    reason: str


class Problems:
    """The files that something is wrong with: their number and the first of them; all go to ``write``."""

    def __init__(self, write: Callable[[FileProblem], None] | None = None) -> None:
        self.count = 0
        self.first: list[FileProblem] = []
        self._write = write

    def add(self, problem: FileProblem) -> None:
        """Take note of one more."""
        self.count += 1
        if len(self.first) < MAX_LISTED:
            self.first.append(problem)
        if self._write:
            self._write(problem)

    def lines(self) -> Iterator[str]:
        """Yield a line for each of the first, and how to get the others."""
        for found in self.first:
            yield f"{found.name!r} ({found.field}): {found.reason}"
        if more := self.count - len(self.first):
            others = "" if self._write else ": --report FILE lists all"
            yield f"… and {more:,} more{others}"


@contextmanager
def written_to(path: str | None) -> Iterator[Callable[[FileProblem], None] | None]:
    """Open a report, and give what writes a file's problem to it; ``None`` without a path."""
    with records_to(path, _COLUMNS) as write:
        yield (lambda problem: write(asdict(problem))) if write else None


@contextmanager
def records_to(path: str | None, columns: Sequence[str]) -> Iterator[Write | None]:
    """Open a report, and give what writes a record to it at once; ``None`` without a path.

    CSV or JSON Lines, as the path ends. Raise ``ImproperlyConfigured`` where that cannot be written.
    """
    if path is None:
        yield None
        return
    extension = Path(path).suffix.lower()
    if extension not in (".csv", ".jsonl", ".ndjson"):
        raise ImproperlyConfigured(f"The report {path!r} must end in .csv or .jsonl.")
    try:
        # A name may contain what UTF-8 cannot: it is escaped, and the report goes on.
        file = open(path, "w", encoding="utf-8", errors="backslashreplace", newline="")  # noqa: SIM115  # below
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ImproperlyConfigured(f"The report {path!r} cannot be written: {reason}.") from None
    with file:
        yield _csv(file, columns) if extension == ".csv" else _json_lines(file)


def _csv(file: IO[str], columns: Sequence[str]) -> Write:
    rows = csv.DictWriter(file, columns)
    rows.writeheader()

    def write(record: Mapping[str, Any]) -> None:
        rows.writerow({column: _harmless(value) for column, value in record.items()})
        file.flush()

    return write


def _harmless(value: Any) -> Any:
    if isinstance(value, str) and (value.startswith(_FORMULA) or value.lstrip().startswith(_FORMULA)):
        return f"'{value}"
    return value


def _json_lines(file: IO[str]) -> Write:
    def write(record: Mapping[str, Any]) -> None:
        file.write(json.dumps(record, ensure_ascii=False) + "\n")
        file.flush()

    return write
