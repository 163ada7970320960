"""Fill the account of an emulator quickly: without uploads, and with images of any age."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import Any

DAY = 86_400
SITE = "tests/test"  # what the settings of the tests give


def own(*, days: float = 30, site: str = SITE, **changes: Any) -> dict[str, Any]:
    """Return the metadata of an image that this package stored so many days ago."""
    uploaded = int(time.time() - days * DAY)
    return {"cf_images": {"size": 1000, "token": "abc", "site": site, "uploaded": uploaded, **changes}}


def fill(emulator: Any, images: Iterable[tuple[str, dict[str, Any]]]) -> None:
    """Insert images, given by ID and metadata, uploaded when their metadata say, else 30 days ago."""
    database = emulator.images._database
    with database.transaction():
        for image_id, metadata in images:
            uploaded = metadata.get("cf_images", {}).get("uploaded")
            if not isinstance(uploaded, int):
                uploaded = time.time() - 30 * DAY
            database.rows(
                "INSERT INTO image (image_id, custom, signed, metadata, uploaded, body, filename,"
                " content_type, size, digest)"
                " VALUES (?, 1, 0, ?, ?, 'no bytes', 'a.jpg', 'image/jpeg', 1000, ?)",
                *(image_id, json.dumps(metadata), uploaded, image_id),
            )
