"""Tokens for the batch host: one a process and account, requested anew before it expires.

A token is valid for about an hour ("Upload images in batches", Cloudflare Images docs). It never leaves the
process.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cf_images.client import BatchToken

_RENEWED_BEFORE = timedelta(minutes=5)
_UNKNOWN_LIFETIME = timedelta(minutes=30)
_FRESH = timedelta(minutes=1)  # a token that is refused sooner was not too old

_tokens: dict[str, tuple[BatchToken, datetime, datetime]] = {}  # with when it was requested, and is so again
_lock = threading.Lock()


def token_of(account_key: str, fetch: Callable[[], BatchToken]) -> str:
    """Return a valid token of an account; ``fetch`` requests one, and raises what its request raises."""
    with _lock:
        known = _tokens.get(account_key)
        now = datetime.now(UTC)
        if known is None or not known[1] <= now < known[2]:
            token = fetch()
            ends_at = token.expires_at - _RENEWED_BEFORE if token.expires_at else now + _UNKNOWN_LIFETIME
            known = _tokens[account_key] = (token, now, ends_at)
        return known[0].token


def forget(account_key: str) -> bool:
    """Forget a token that was refused; return whether it may have been too old."""
    with _lock:
        known = _tokens.pop(account_key, None)
    return known is not None and datetime.now(UTC) - known[1] >= _FRESH


def clear_cache() -> None:
    """Forget all tokens: in a test, or in a forked process, where a thread of the parent may have held the
    lock.
    """
    global _lock
    _lock = threading.Lock()
    _tokens.clear()


if hasattr(os, "register_at_fork"):  # pragma: no branch  # Windows does not fork
    os.register_at_fork(after_in_child=clear_cache)
