"""The rows of pending images that one request has read: a page asks for the same image several times.

They are forgotten with the request, and what the request itself changes is not kept, since its transaction
may be rolled back. Only where one thread serves the whole request, as under WSGI; elsewhere nothing is kept.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from django.core.signals import request_finished, request_started

from cf_images.models import Upload

_MAX_ROWS = 1000  # of one request
_rows: ContextVar[dict[str, Upload | None] | None] = ContextVar("cf_images_page_rows", default=None)


def kept(name: str) -> Upload | None:
    """Return the row of a pending image if this request has read it."""
    rows = _rows.get()
    return None if rows is None else rows.get(name)


def keep(upload: Upload) -> None:
    """Keep the row of a pending image until the request ends."""
    rows = _rows.get()
    if rows is not None and len(rows) < _MAX_ROWS:
        rows.setdefault(upload.name, upload)


def forget(name: str) -> None:
    """Keep no row of this name: the request changes it."""
    rows = _rows.get()
    if rows is not None:
        rows[name] = None


def clear() -> None:
    """Keep nothing from now on: a worker in this thread changes rows."""
    _rows.set(None)


def _begin(**_: Any) -> None:
    _rows.set({})


def _end(**_: Any) -> None:
    clear()


request_started.connect(_begin, dispatch_uid="cf_images.page_rows")
request_finished.connect(_end, dispatch_uid="cf_images.page_rows")
