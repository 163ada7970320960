"""Signatures of delivery URLs, and when they expire. The clock is passed in.

"Serve private images" in Cloudflare's documentation: the message is the path and the query with ``exp``; the
signature is its HMAC-SHA256 in lower-case hex under the UTF-8 bytes of a key's value, added as ``sig``. The
path is ``/<account_hash>/<image_id>/<variant>``, also where the URL itself has a longer one.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache

from cf_images.delivery.urls import DeliveryURL, build_path
from cf_images.exceptions import InvalidExpiryError

MAX_LIFETIME = 365 * 24 * 3600  # seconds
_MAX_WINDOW = 24 * 3600  # seconds

Lifetime = float | timedelta | datetime


def expiry(lifetime: Lifetime, *, now: float) -> int:
    """Return when a URL signed ``now`` expires, in seconds since 1970, like ``now``.

    A ``lifetime`` in seconds, or as a ``timedelta``, is a minimum. The expiry is rounded up to a multiple of
    half the lifetime (a day at most): for that long the same page gives the same URL, so that browsers can
    cache the image. An hour becomes 60 to 90 minutes. A ``datetime`` is exact to the second; without a time
    zone it is local time. Raise ``InvalidExpiryError`` for the past, and for more than a year.
    """
    # isinstance() with a union takes as long as all the rest, and every private image on a page has seconds.
    if type(lifetime) is int or type(lifetime) is float:
        seconds: float = lifetime
        if 0 < seconds <= MAX_LIFETIME:
            return _rounded_up(seconds, now)
    return _checked_expiry(lifetime, now)


def _checked_expiry(lifetime: Lifetime, now: float) -> int:
    seconds = _seconds(lifetime, now)
    if problem := lifetime_problem(seconds):
        raise InvalidExpiryError(f"{lifetime!r} is no lifetime of a signed URL: {problem}.")
    if isinstance(lifetime, datetime):
        return math.ceil(now + seconds)
    return _rounded_up(seconds, now)


def _rounded_up(seconds: float, now: float) -> int:
    window = min(int(seconds // 2), _MAX_WINDOW) or 1
    return math.ceil((now + seconds) / window) * window


def lifetime_problem(seconds: object) -> str:
    """Return what is wrong with a lifetime in seconds; an empty string for a good one."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return "give seconds, a timedelta or a datetime"
    if not seconds > 0:
        return "it ends in the past"
    if seconds > MAX_LIFETIME:
        return "it is longer than a year"
    return ""


def sign(url: DeliveryURL, key: str, *, expires_at: int | None) -> DeliveryURL:
    """Return ``url`` with a new signature, valid until ``expires_at`` (seconds since 1970) or forever."""
    path = build_path(url.account_hash, url.image_id, url.variant)
    return replace(url, query=signed_query(path, key, expires_at=expires_at))


def signed_query(path: str, key: str, *, expires_at: int | None) -> str:
    """Return the query of a signed URL whose path at Cloudflare is ``path``."""
    if expires_at is None:
        return f"sig={_signature(path, key)}"
    return f"exp={expires_at}&sig={_signature(f'{path}?exp={expires_at}', key)}"


def is_signed_by(url: DeliveryURL, keys: Iterable[str]) -> bool:
    """Return whether one of ``keys`` made the signature, expired or not."""
    fields = url.query.split("&")
    signatures = [field[4:] for field in fields if field.startswith("sig=")]
    query = "&".join(field for field in fields if not field.startswith("sig="))
    path = build_path(url.account_hash, url.image_id, url.variant)
    message = f"{path}?{query}" if query else path
    given = signatures[0].encode() if len(signatures) == 1 else b""
    # Every key is tried, so that the time it takes does not tell which one it was.
    matches = [hmac.compare_digest(_signature(message, key).encode(), given) for key in keys]
    return any(matches)


def expiry_of(url: DeliveryURL) -> int | None:
    """Return the ``exp`` of a signed URL, ``None`` without one."""
    for field in url.query.split("&"):
        if field.startswith("exp="):
            return int(field[4:])
    return None


def _seconds(lifetime: Lifetime, now: float) -> float:
    if isinstance(lifetime, datetime):
        try:
            return lifetime.timestamp() - now
        except (OSError, OverflowError, ValueError):  # datetime.min, before the first local time
            return -math.inf
    return lifetime.total_seconds() if isinstance(lifetime, timedelta) else lifetime


def _signature(message: str, key: str) -> str:
    mac = _mac(key).copy()
    mac.update(message.encode())
    return mac.hexdigest()


@lru_cache(maxsize=8)  # an account has two keys, and preparing one takes as long as using it
def _mac(key: str) -> hmac.HMAC:
    return hmac.new(key.encode(), digestmod=hashlib.sha256)
