"""Signed delivery URLs, verified as "Serve private images" describes; written without a look at the signer.

The message is the short path as it was received, a question mark, and the query without ``sig`` in its
order; the signature its HMAC-SHA256 in hex under the UTF-8 bytes of a key's value.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable


def expiry(path: str, query: str, *, keys: Iterable[str]) -> float | None:
    """When a signed URL ends, in seconds since 1970 (infinity without ``exp``); ``None``: it is not valid."""
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
    """The signature of a message under one key."""
    return hmac.new(key.encode(), message.encode(), hashlib.sha256).hexdigest()


def _expiry(fields: list[str]) -> float | None:
    moments = [field.removeprefix("exp=") for field in fields if field.startswith("exp=")]
    if not moments:
        return float("inf")
    if len(moments) > 1 or not moments[0].isascii() or not moments[0].isdigit():
        return None
    return float(moments[0][:15])
