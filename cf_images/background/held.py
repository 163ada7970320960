"""What is still here: rows, their bytes, and Cloudflare's ID of a private image."""

from __future__ import annotations

from typing import IO

from cf_images.background import pieces
from cf_images.background.database import uploads
from cf_images.models import HELD, State, Upload

_remote_ids: dict[str, str] = {}


def find(name: str) -> Upload | None:
    """The row of an image that is still here, waiting or rejected."""
    return uploads().filter(name=name, state__in=HELD).first()


def has_row(name: str) -> bool:
    """Whether the image is still here, waiting or rejected."""
    return uploads().filter(name=name, state__in=HELD).exists()


def is_doomed(name: str) -> bool:
    """Whether the image has been deleted, and Cloudflare does not know it yet."""
    return uploads().filter(name=name, state=State.DOOMED).exists()


def waiting_names(alias: str) -> set[str]:
    """The names in the storage ``alias`` that are still here."""
    return set(uploads().filter(storage=alias, state__in=HELD).values_list("name", flat=True))


def doomed_names(alias: str) -> set[str]:
    """The names in the storage ``alias`` that have been deleted, and Cloudflare does not know it yet."""
    return set(uploads().filter(storage=alias, state=State.DOOMED).values_list("name", flat=True))


def pending_size(name: str) -> int | None:
    """Bytes of an image that is still here, 0 for one that has yet to be fetched; else ``None``."""
    upload = find(name)
    return None if upload is None else upload.size or 0


def open_pending(name: str) -> IO[bytes] | None:
    """The bytes that are still here, as a file at its start; ``None`` where there are none.

    Empty for an image that has yet to be fetched, so that loading its model never fails.
    """
    upload = find(name)
    if upload is None:
        return None
    try:
        return pieces.copy(upload)
    except pieces.BytesGoneError:
        return None  # delivered in this very moment


def remote_id(name: str, alias: str) -> str | None:
    """Cloudflare's ID of a private image that was stored in the background; asked once per process."""
    if name not in _remote_ids:
        stored = uploads().filter(name=name, storage=alias, state=State.STORED).exclude(remote_id="")
        if found := stored.values_list("remote_id", flat=True).first():
            _remote_ids[name] = found  # it never changes
    return _remote_ids.get(name)
