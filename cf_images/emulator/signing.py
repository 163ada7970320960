"""Verification of signed delivery URLs after "Serve private images", independent of this package's signer.

The message is the path ``/<hash>/<id>/<variant>`` as received, a question mark, and the query without ``sig``
in its order. The signature is its HMAC-SHA256 in hex; the HMAC key is a signing key's value in UTF-8.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable


def expiry(path: str, query: str, *, keys: Iterable[str]) -> float | None:
    """Return the expiry in seconds since 1970 (infinity without ``exp``), or ``None`` if invalid."""
    fields = [field for field in query.split("&") if field]
    signatures = [field.removeprefix("sig=") for field in fields if field.startswith("sig=")]
    rest = [field for field in fields if not field.startswith("sig=")]
    message = "?".join([path, "&".join(rest)]) if rest else path
    if len(signatures) != 1 or not _is_signed(message, signatures[0], keys=keys):
        return None
    return _expiry(rest)


def _is_signed(message: str, signature: str, *, keys: Iterable[str]) -> bool:
    valid = [hmac.compare_digest(sign(message, key=key).encode(), signature.encode()) for key in keys]
    return any(valid)


def sign(message: str, *, key: str) -> str:
    """Return the signature of a message with one key, in hex."""
    return hmac.new(key.encode(), message.encode(), hashlib.sha256).hexdigest()


def _expiry(fields: list[str]) -> float | None:
    values = [field.removeprefix("exp=") for field in fields if field.startswith("exp=")]
    if not values:
        return float("inf")
    if len(values) > 1 or not values[0].isascii() or not values[0].isdigit():
        return None
    return float(values[0][:15])
