"""The rows of uploads and what they say: always read from the database that writes them, since replicas
lag.
"""

from __future__ import annotations

from typing import IO

from django.db import router
from django.db.models import QuerySet

from cf_images.background import chunks
from cf_images.models import TO_PROCESS, UNCONFIRMED, CircuitBreaker, State, Upload

_remote_ids: dict[str, str] = {}


def database() -> str:
    """Return the alias in ``DATABASES``; only transactions of this database roll an image back."""
    return router.db_for_write(Upload)


def uploads() -> QuerySet[Upload]:
    """Return all uploads."""
    return Upload.objects.using(database())


def unfinished() -> QuerySet[Upload]:
    """Return the uploads for which a worker has something to do, now or later."""
    return uploads().filter(state__in=TO_PROCESS)


def breakers() -> QuerySet[CircuitBreaker]:
    """Return all circuit breakers."""
    return CircuitBreaker.objects.using(database())


def find(name: str) -> Upload | None:
    """Return the row of an image that Cloudflare has not confirmed, pending or rejected."""
    return uploads().filter(name=name, state__in=UNCONFIRMED).first()


def has_row(name: str) -> bool:
    """Return whether ``find`` would return a row."""
    return uploads().filter(name=name, state__in=UNCONFIRMED).exists()


def is_deleting(name: str) -> bool:
    """Return whether the image has been deleted here and not yet at Cloudflare."""
    return uploads().filter(name=name, state=State.DELETING).exists()


def pending_names(alias: str) -> set[str]:
    """Return the names in the storage ``alias`` that Cloudflare has not confirmed."""
    return set(uploads().filter(storage=alias, state__in=UNCONFIRMED).values_list("name", flat=True))


def deleting_names(alias: str) -> set[str]:
    """Return the names in the storage ``alias`` that have been deleted here and not yet at Cloudflare."""
    return set(uploads().filter(storage=alias, state=State.DELETING).values_list("name", flat=True))


def pending_size(name: str) -> int | None:
    """Return the bytes of a pending image, 0 for one that is yet to be fetched; ``None`` for any other."""
    upload = find(name)
    return None if upload is None else upload.size or 0


def open_pending(name: str) -> IO[bytes] | None:
    """Return the bytes of a pending image as a file at its start; ``None`` where there are none.

    The file is empty for an image that is yet to be fetched, so that loading its model never fails.
    """
    upload = find(name)
    if upload is None:
        return None
    try:
        return chunks.copy(upload, using=database())
    except chunks.BytesGoneError:
        return None  # stored in this moment


def remote_id(name: str, alias: str) -> str | None:
    """Return Cloudflare's ID of a private image that was stored in the background; one query a process."""
    if name not in _remote_ids:
        stored = uploads().filter(name=name, storage=alias, state=State.STORED).exclude(remote_id="")
        if found := stored.values_list("remote_id", flat=True).first():
            _remote_ids[name] = found  # it never changes
    return _remote_ids.get(name)
