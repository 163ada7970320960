"""The URL of this package's view of a pending image. It stays valid: once stored, it redirects to Cloudflare.

That of a private image is signed with the site's ``SECRET_KEY``: for one image, one variant, and until a
moment.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

from django.core.signing import BadSignature, Signer
from django.urls import NoReverseMatch, reverse

VIEW = "cf_images:pending"
_EXPIRY, _SIGNATURE = "exp", "key"
_SALT = "cf_images.pending"


def pending_url(name: str, variant: str, *, expires_at: int | None = None) -> str | None:
    """Return the view's URL of ``variant``; ``None`` if the view is not mounted.

    Signed until ``expires_at``, in seconds since 1970, which a private image needs.
    """
    try:
        path = reverse(VIEW, args=[variant, name])
    except NoReverseMatch:
        return None
    if expires_at is None:
        return path
    signature = _signer().signature(_message(name, variant, expires_at))
    return f"{path}?{urlencode({_EXPIRY: expires_at, _SIGNATURE: signature})}"


def signed_until(name: str, variant: str, query: Mapping[str, str]) -> int | None:
    """Return when a URL with this query expires, if this site signed it for the image and variant; else
    ``None``.
    """
    expiry, signature = query.get(_EXPIRY, ""), query.get(_SIGNATURE, "")
    if not (expiry.isascii() and expiry.isdigit() and len(expiry) < 15):
        return None
    if ":" in signature:
        return None  # what stands before it would count as the end of the name
    try:
        _signer().unsign(f"{_message(name, variant, int(expiry))}:{signature}")
    except BadSignature:
        return None
    return int(expiry)


def is_signed(query: Mapping[str, str]) -> bool:
    """Return whether a URL with this query has a signature, valid or not."""
    return _SIGNATURE in query


def _message(name: str, variant: str, expires_at: int) -> str:
    return f"{expires_at}:{variant}:{name}"


def _signer() -> Signer:
    return Signer(salt=_SALT)
