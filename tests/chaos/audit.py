"""Report what became of every upload: one question a line on standard input, one line of JSON in reply."""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files.storage import storages

from cf_images.background.rows import transfers
from cf_images.exceptions import ImageNotFoundError
from cf_images.images.metadata import token_of
from cf_images.models import Chunk, State, Transfer, Upload
from tests.chaos.models import Document, Photo


def main() -> None:
    """Respond until standard input closes."""
    for line in sys.stdin:
        question, *arguments = line.split()
        sys.stdout.write(json.dumps(_QUESTIONS[question](*arguments)) + "\n")
        sys.stdout.flush()


def _pending() -> dict[str, int]:
    """Count the rows that are pending or deleting, and those of them that a worker has leased."""
    pending = Upload.objects.exclude(next_attempt_at=None)
    return {"pending": pending.count(), "leased": pending.exclude(lease="").count()}


def _report(ledger: str) -> dict[str, Any]:
    """Compare what the visitors recorded in the ledger with the images and rows that exist now."""
    events = [json.loads(line) for line in Path(ledger).read_text().splitlines()]
    accepted = {event["name"]: event["sha256"] for event in events if event["event"] == "accepted"}
    deleted = [event["name"] for event in events if event["event"] != "accepted"]
    rows = {row.name: row for row in Upload.objects.all()}
    images = list(storages["cloudflare_images"].client.list_images())  # type: ignore[attr-defined]
    tokens = Counter(token_of(image.metadata) for image in images)
    stored = {name: _sha256(rows.get(name)) for name in accepted}
    return {
        "uploads": len(accepted),
        "deleted or rolled back": len(deleted),
        "lost": sum(digest is None for digest in stored.values()),
        "different": sum(digest not in (None, accepted[name]) for name, digest in stored.items()),
        "doubled": sum(count - 1 for count in tokens.values()),
        "unknown": len(tokens.keys() - {rows[name].token for name in accepted if name in rows}),
        "pending": sum(row.state != State.STORED for row in rows.values()),
        "not deleted": sum(name in rows for name in deleted),
        "chunks": Chunk.objects.count(),
        "attempts": sum(row.attempts for row in rows.values()),
    }


def _sha256(row: Upload | Transfer | None) -> str | None:
    if row is None or row.state != State.STORED:
        return None
    digest = hashlib.sha256()
    try:
        for chunk in storages[row.storage].client.download(row.remote_id):  # type: ignore[attr-defined]
            digest.update(chunk)
    except ImageNotFoundError:
        return None
    return digest.hexdigest()


def _moving() -> dict[str, int]:
    """Count the transfers that a process has leased."""
    return {"leased": transfers().exclude(lease="").count()}


def _moved() -> dict[str, Any]:
    """Compare the files of the library with the images and the ledger that exist now."""
    rows = {row.source_name: row for row in transfers()}
    images = list(storages["direct"].client.list_images())  # type: ignore[attr-defined]
    tokens = Counter(token_of(image.metadata) for image in images)
    names = [name for model in (Photo, Document) for name in model.objects.values_list("image", flat=True)]
    stored = {name: _sha256(rows.get(name)) for name in names}
    return {
        "lost": sum(digest is None for digest in stored.values()),
        "different": sum(digest not in (None, _digest(name)) for name, digest in stored.items()),
        "doubled": sum(count - 1 for count in tokens.values()),
        "unknown": len(tokens.keys() - {row.token for row in rows.values()}),
        "pending": sum(row.state != State.STORED for row in rows.values()),
        "attempts": sum(row.attempts for row in rows.values()),
    }


def _digest(name: str) -> str:
    return hashlib.sha256(Path(settings.MEDIA_ROOT, name).read_bytes()).hexdigest()


_QUESTIONS: dict[str, Callable[..., dict[str, Any]]] = {
    "pending": _pending,
    "report": _report,
    "moving": _moving,
    "moved": _moved,
}
