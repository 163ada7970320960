"""The report of a search for orphans, as CSV or JSON Lines: a line for each finding, and each outcome."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from cf_images.transfer.orphan_deletion import Done
from cf_images.transfer.orphans import Found
from cf_images.transfer.report import Write, records_to

COLUMNS = ("storage", "kind", "image", "name", "field", "row", "rows", "uploaded", "bytes", "reason")

Record = dict[str, Any]


@contextmanager
def opened(path: str | None) -> Iterator[Write]:
    """Yield what writes a record to the file; without a path, records are dropped."""
    with records_to(path, COLUMNS) as write:
        yield write or (lambda _: None)


def findings(storage: str, found: Found) -> Iterator[Record]:
    """Yield the records of what a search has found."""
    for orphan in found.orphans:
        kind = "orphan" if orphan.quarantined is None else "quarantined orphan"
        uploaded = datetime.fromtimestamp(orphan.uploaded, UTC).isoformat()
        yield _record(
            storage, kind, image=orphan.image_id, name=orphan.name, uploaded=uploaded, bytes=orphan.size
        )
    for missing in found.missing:
        yield _record(
            *(storage, "missing"),
            name=missing.name,
            field=missing.field,
            row=missing.pk,
            rows=missing.rows,
            reason=missing.reason,
        )
    for unclear in found.unclear:
        yield _record(storage, "unclear", name=unclear.name, reason=unclear.reason)


def outcome(storage: str, done: Done) -> Record:
    """Return the record of what became of an orphan."""
    return _record(storage, done.outcome, image=done.image_id, reason=done.reason)


def _record(storage: str, kind: str, **values: Any) -> Record:
    record = {"storage": storage, "kind": kind, **values}
    return {column: "" if record.get(column) is None else record[column] for column in COLUMNS}
