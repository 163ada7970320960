"""Signatures of delivery URLs, and when they end; pure: no I/O, no Django, the clock is passed in.

"Serve private images" in Cloudflare's documentation: the message is the path and the query with ``exp``,
the signature its HMAC-SHA256 in lower-case hex under the UTF-8 bytes of a key's value, added as ``sig``. The
path is ``/<account_hash>/<image_id>/<variant>``, also where the address itself is longer.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from cf_images.delivery import DeliveryURL, build_path
from cf_images.exceptions import InvalidExpiryError

LONGEST_LIFETIME = 365 * 24 * 3600  # seconds
_LONGEST_WINDOW = 24 * 3600  # seconds

Lifetime = float | timedelta | datetime


def ending(lifetime: Lifetime, *, now: float) -> int:
    """When an address signed ``now`` ends, in seconds since 1970, like ``now``.

    A ``lifetime`` in seconds, or as a ``timedelta``, is what a reader gets at least. The end is rounded up
    to a whole window of half the lifetime, a day at most: for so long the same page gives the same address,
    and browsers need not fetch the image again. So an hour is 60 to 90 minutes. A ``datetime`` is kept to
    the second; without a time zone it is local time. ``InvalidExpiryError`` for the past, and for more than
    a year.
    """
    seconds = _seconds(lifetime, now)
    if flaw := lifetime_flaw(seconds):
        raise InvalidExpiryError(f"An address cannot live for, or until, {lifetime!r}: {flaw}.")
    if isinstance(lifetime, datetime):
        return math.ceil(now + seconds)
    window = max(1, min(int(seconds // 2), _LONGEST_WINDOW))
    return math.ceil((now + seconds) / window) * window


def lifetime_flaw(seconds: object) -> str:
    """What is wrong with a lifetime in seconds; empty for a good one."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return "give seconds, a timedelta or a datetime"
    if not seconds > 0:
        return "it is over already"
    if seconds > LONGEST_LIFETIME:
        return "it is more than a year away"
    return ""


def sign(address: DeliveryURL, key: str, *, ends_at: int | None) -> DeliveryURL:
    """``address`` with a new signature, good until ``ends_at`` (seconds since 1970) or for ever."""
    query = "" if ends_at is None else f"exp={ends_at}"
    signature = _signature(_message(address, query), key)
    return replace(address, query=f"{query}&sig={signature}".removeprefix("&"))


def is_signed_by(address: DeliveryURL, keys: Iterable[str]) -> bool:
    """Whether one of ``keys`` made the signature; that it may be over by now does not matter."""
    fields = address.query.split("&")
    signatures = [field[4:] for field in fields if field.startswith("sig=")]
    message = _message(address, "&".join(field for field in fields if not field.startswith("sig=")))
    given = signatures[0].encode() if len(signatures) == 1 else b""
    # every key is tried, so that the time it takes does not tell which one it was
    matches = [hmac.compare_digest(_signature(message, key).encode(), given) for key in keys]
    return any(matches)


def end_of(address: DeliveryURL) -> int | None:
    """The ``exp`` of a signed address, ``None`` without one."""
    for field in address.query.split("&"):
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


def _message(address: DeliveryURL, query: str) -> str:
    path = build_path(address.account_hash, address.image_id, address.variant)
    return f"{path}?{query}" if query else path


def _signature(message: str, key: str) -> str:
    return hmac.new(key.encode(), message.encode(), hashlib.sha256).hexdigest()
