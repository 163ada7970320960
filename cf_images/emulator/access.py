"""Access to the account: its identity, bearer tokens and rate limits."""

from __future__ import annotations

import hmac
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from werkzeug.wrappers import Request

from cf_images.emulator.errors import AUTHENTICATION, BAD_HEADERS, THROTTLED, ApiError


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The identity of the emulated account; ``repr`` hides the token."""

    account_id: str
    api_token: str = field(repr=False)
    account_hash: str


def bearer_token(request: Request) -> str:
    """Return the token of the ``Authorization`` header; raise :class:`ApiError` with 10000 or 6003."""
    header = request.headers.get("Authorization")
    if not header:
        raise ApiError(AUTHENTICATION)
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise ApiError(BAD_HEADERS, "Authorization must be 'Bearer <token>'")
    return token.strip()


def secrets_match(given: str, expected: str) -> bool:
    """Compare two secrets in constant time."""
    return hmac.compare_digest(given.encode(errors="replace"), expected.encode())


class RateLimit:
    """A limit of requests for each token in ``window`` seconds.

    A request above the limit blocks the token for another window ("API rate limits").
    """

    def __init__(self, limit: int, *, window: float, clock: Callable[[], float]) -> None:
        self.limit = limit
        self._window = window
        self._clock = clock
        self._lock = threading.Lock()
        self._used: dict[str, int] = {}
        self._reset_at: dict[str, float] = {}

    def count(self, token: str) -> dict[str, str]:
        """Count a request and return its rate-limit headers; raise :class:`ApiError` with 971."""
        with self._lock:
            now = self._clock()
            if now >= self._reset_at.get(token, 0):
                self._used[token], self._reset_at[token] = 0, now + self._window
            self._used[token] += 1
            if self._used[token] == self.limit + 1:
                self._reset_at[token] = now + self._window
            remaining, seconds = self.limit - self._used[token], math.ceil(self._reset_at[token] - now)
        if remaining < 0:
            raise ApiError(THROTTLED, retry_after=max(seconds, 1))
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(remaining),
            "X-RateLimit-Reset": str(seconds),
        }

    def reset(self) -> None:
        """Set all counts to zero."""
        with self._lock:
            self._used.clear()
            self._reset_at.clear()
