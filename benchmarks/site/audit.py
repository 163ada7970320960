"""What has become of everything, asked over standard input, one word a line, answered in JSON."""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.core.files.storage import storages

from cf_images.exceptions import ImageNotFoundError
from cf_images.metadata import token_of
from cf_images.models import MOVING, Piece, State, Upload


def main() -> None:
    """Answer until standard input ends."""
    for line in sys.stdin:
        question, *arguments = line.split()
        sys.stdout.write(json.dumps(_QUESTIONS[question](*arguments)) + "\n")
        sys.stdout.flush()


def _moving() -> dict[str, int]:
    """Rows that are still on their way, and how many of those a worker holds."""
    moving = Upload.objects.filter(state__in=MOVING)
    return {"moving": moving.count(), "held": moving.exclude(lease="").count()}


def _report(ledger: str) -> dict[str, Any]:
    """Everything that visitors were told, compared with what Cloudflare and the table have now."""
    told = [json.loads(line) for line in Path(ledger).read_text().splitlines()]
    kept = {fact["name"]: fact["sha256"] for fact in told if fact["event"] == "accepted"}
    gone = [fact["name"] for fact in told if fact["event"] != "accepted"]
    rows = {row.name: row for row in Upload.objects.all()}
    images = list(storages["cloudflare_images"].client.list_images())  # type: ignore[attr-defined]
    tokens = Counter(token_of(image.metadata) for image in images)
    arrived = {name: _sha256(rows.get(name)) for name in kept}
    return {
        "uploads": len(kept),
        "deleted or rolled back": len(gone),
        "lost": sum(digest is None for digest in arrived.values()),
        "different": sum(digest not in (None, kept[name]) for name, digest in arrived.items()),
        "doubled": sum(count - 1 for count in tokens.values()),
        "unknown": len(tokens.keys() - {rows[name].token for name in kept if name in rows}),
        "pending": sum(row.state != State.STORED for row in rows.values()),
        "undead": sum(name in rows for name in gone),
        "pieces": Piece.objects.count(),
        "attempts": sum(row.attempts for row in rows.values()),
    }


def _sha256(row: Upload | None) -> str | None:
    if row is None or row.state != State.STORED:
        return None
    digest = hashlib.sha256()
    try:
        for chunk in storages[row.storage].client.download(row.remote_id):  # type: ignore[attr-defined]
            digest.update(chunk)
    except ImageNotFoundError:
        return None
    return digest.hexdigest()


_QUESTIONS: dict[str, Callable[..., dict[str, Any]]] = {"moving": _moving, "report": _report}
