"""What the views do with JSON, for any way in which a request was authenticated."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from typing import Any

from django.http import HttpRequest, RawPostDataException, UnreadablePostError
from django.utils.translation import gettext as _

from cf_images import images
from cf_images.browser import permissions, reservations, signed_values, targets, view_urls
from cf_images.browser.owners import owner_of
from cf_images.browser.problems import UploadProblem
from cf_images.images import content_type_of
from cf_images.models import Reservation, State

_MAX_TEXT = 2000  # characters of a field or a file name


def body_of(request: HttpRequest, *, max_bytes: int) -> bytes | None:
    """Return the body of a request; ``None`` for one that is longer, or that cannot be read."""
    try:
        if int(request.META.get("CONTENT_LENGTH") or 0) > max_bytes:
            return None
        body = request.body
    except (ValueError, RawPostDataException, UnreadablePostError):
        return None
    return body if len(body) <= max_bytes else None


def reserve(request: Any, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``value``, ``upload_url``, ``expires_at`` and ``max_bytes`` of a new upload."""
    label, filename, content_type = (_text(data, name) for name in ("field", "filename", "type"))
    size = data.get("size")
    if not label or not filename or type(size) is not int or size <= 0:
        raise UploadProblem(_("The file is empty, or its name or size is missing."), 400)
    target = _target(request, label)
    owner = owner_of(request, create=True)
    if owner is None:
        raise _forbidden()
    if content_type and content_type.replace("jpg", "jpeg") not in map(content_type_of, target.formats):
        problem = _("This kind of file is not accepted here: %(kind)s.") % {"kind": content_type[:80]}
        raise UploadProblem(problem, 415)
    row, upload_url = reservations.reserve(target, owner=owner, filename=filename, size=size)
    return {
        "value": signed_values.value_of(row),
        "upload_url": upload_url or view_urls.local_upload_url(row),
        "expires_at": row.expires_at.astimezone(UTC).isoformat(),  # local time where USE_TZ is off
        "max_bytes": images.MAX_BYTES,
    }


def status(request: Any, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``state`` of an upload (open, uploaded, attached, gone), and what is known of it."""
    try:
        row = reservations.find(signed_values.read(_text(data, "value")), owner=owner_of(request))
    except UploadProblem:
        return _state("gone")
    if row.state == State.STORED:
        return _state("attached", row)
    if not reservations.is_open(row):
        return _state("gone", row)
    if not reservations.has_arrived(row):
        return _state("open", row)
    return _state("uploaded", row)


def discard(request: Any, data: Mapping[str, Any]) -> None:
    """Delete an upload that was not saved; one that is not known is gone already."""
    try:
        row = reservations.find(signed_values.read(_text(data, "value")), owner=owner_of(request))
    except UploadProblem:
        return
    reservations.discard(row)


def _target(request: Any, field: str) -> targets.Target:
    """Return the target that a page names, or "app.Model.field" for users with a permission."""
    owner = owner_of(request)
    target = targets.read(field, owner) if owner else None
    is_rendered = target is not None
    target = target or targets.of_label(field)
    if target is None or not permissions.may_upload(request, target.label, is_rendered=is_rendered):
        raise _forbidden()
    return target


def _forbidden() -> UploadProblem:
    return UploadProblem(_("You may not upload images here. Log in, or reload the page, and try again."), 403)


def _state(state: str, row: Reservation | None = None) -> dict[str, Any]:
    is_there = row is not None and state == "uploaded"
    return {
        "state": state,
        "filename": row.filename if row else "",
        "preview_url": view_urls.preview_url_of(row) if row and is_there else None,
        "width": row.width if row and is_there else None,
        "height": row.height if row and is_there else None,
        "size": row.size if row and is_there else None,
    }


def _text(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name, "")
    return value if isinstance(value, str) and len(value) <= _MAX_TEXT else ""
