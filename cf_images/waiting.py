"""The address at which an image is seen while it waits, and for ever after: then it leads to Cloudflare.

That of a private image is signed with the site's ``SECRET_KEY``: for one variant, until a moment.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

from django.core.signing import BadSignature, Signer
from django.urls import NoReverseMatch, reverse

VIEW = "cf_images:waiting"
_END, _KEY = "exp", "key"
_SALT = "cf_images.waiting"


def waiting_address(name: str, variant: str, *, ends_at: int | None = None) -> str | None:
    """Our view's address of ``variant``; ``None`` if it is not mounted.

    Signed until ``ends_at``, in seconds since 1970, which a private image needs.
    """
    try:
        path = reverse(VIEW, args=[variant, name])
    except NoReverseMatch:
        return None
    if ends_at is None:
        return path
    key = _signer().signature(_permission(name, variant, ends_at))
    return f"{path}?{urlencode({_END: ends_at, _KEY: key})}"


def signed_until(name: str, variant: str, query: Mapping[str, str]) -> int | None:
    """When an address with this query ends, if we made it for this image and variant; else ``None``."""
    end, key = query.get(_END, ""), query.get(_KEY, "")
    if not (end.isascii() and end.isdigit() and len(end) < 15):
        return None
    if ":" in key:
        return None  # what stands before it would count as the end of the name
    try:
        _signer().unsign(f"{_permission(name, variant, int(end))}:{key}")
    except BadSignature:
        return None
    return int(end)


def is_signed(query: Mapping[str, str]) -> bool:
    """Whether an address with this query carries a signature, good or bad."""
    return _KEY in query


def _permission(name: str, variant: str, ends_at: int) -> str:
    return f"{ends_at}:{variant}:{name}"


def _signer() -> Signer:
    return Signer(salt=_SALT)
