"""The URLs of the views: what pages and responses name."""

from __future__ import annotations

from urllib.parse import urlencode

from django.core import signing
from django.urls import NoReverseMatch, reverse

from cf_images.browser import signed_values
from cf_images.models import Reservation

_UPLOAD_SALT = "cf_images.browser.upload"


def are_mounted() -> bool:
    """Return whether the project has the views in its URLs."""
    try:
        reverse("cf_images:reservations")
    except NoReverseMatch:
        return False
    return True


def preview_url(value: str) -> str:
    """Return the URL of this site at which the owner sees an upload that is not saved yet."""
    return f"{reverse('cf_images:reservation_preview')}?{urlencode({'value': value})}"


def preview_url_of(row: Reservation) -> str:
    """Return the same of a row."""
    return preview_url(signed_values.value_of(row))


def local_upload_url(row: Reservation) -> str:
    """Return the URL that takes one file for a storage of local files; to have it is to be allowed."""
    return reverse("cf_images:reservation_upload", args=[signing.dumps(row.key, salt=_UPLOAD_SALT)])


def key_in_upload_url(token: str) -> str | None:
    """Return the key of the row that a URL is for; ``None`` for a forged one."""
    try:
        return str(signing.loads(token, salt=_UPLOAD_SALT))
    except (signing.BadSignature, ValueError):
        return None
