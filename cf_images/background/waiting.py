"""The address at which an image is seen while it waits, and for ever after: then it leads to Cloudflare."""

from __future__ import annotations

from urllib.parse import urlencode

from django.core import signing
from django.urls import NoReverseMatch, reverse

from cf_images.background import timing

VIEW = "cf_images:waiting"
_KEY = "key"
_SALT = "cf_images.waiting"


def waiting_address(name: str, variant: str, *, private: bool = False) -> str | None:
    """Our view's address of ``variant``, for ten minutes if ``private``; ``None`` if it is not mounted."""
    try:
        path = reverse(VIEW, args=[variant, name])
    except NoReverseMatch:
        return None
    return f"{path}?{urlencode({_KEY: _sign(name)})}" if is_private(name) or private else path


def is_private(name: str) -> bool:
    """Whether the name tells that the image needs a signed address."""
    return "~" in name


def is_signed(name: str, query: dict[str, str]) -> bool:
    """Whether an address with this query was made by us, for this image, not long ago."""
    try:
        signed = _signer().unsign(f"{name}:{query.get(_KEY, '')}", max_age=timing.PRIVATE_ADDRESS)
    except signing.BadSignature:
        return False
    return signed == name


def _sign(name: str) -> str:
    return _signer().sign(name).removeprefix(f"{name}:")


def _signer() -> signing.TimestampSigner:
    return signing.TimestampSigner(salt=_SALT)
