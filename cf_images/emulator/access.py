"""Who may ask, and how often: tokens compared in constant time, rate limits counted."""

from __future__ import annotations

import hmac
import math
import threading
from collections.abc import Callable

from werkzeug.wrappers import Request

from cf_images.emulator.errors import AUTHENTICATION, BAD_HEADERS, THROTTLED, ApiError


def bearer_token(request: Request) -> str:
    """The token of the ``Authorization`` header; raises :class:`ApiError` when there is none."""
    header = request.headers.get("Authorization")
    if not header:
        raise ApiError(AUTHENTICATION)
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise ApiError(BAD_HEADERS, "Authorization must be 'Bearer <token>'")
    return token.strip()


def same_secret(given: str, expected: str) -> bool:
    """Compare without telling by the time it takes how much was right."""
    return hmac.compare_digest(given.encode(errors="replace"), expected.encode())


class RateLimit:
    """``limit`` requests in ``window`` seconds; one more, and all are refused for another window."""

    def __init__(self, limit: int, *, window: float, clock: Callable[[], float]) -> None:
        self.limit = limit
        self._window = window
        self._clock = clock
        self._lock = threading.Lock()
        self._used: dict[str, int] = {}
        self._ends: dict[str, float] = {}

    def take(self, who: str) -> dict[str, str]:
        """Count a request; the rate-limit headers of its answer. Raises :class:`ApiError` with 429."""
        with self._lock:
            now = self._clock()
            if now >= self._ends.get(who, 0):
                self._used[who], self._ends[who] = 0, now + self._window
            self._used[who] += 1
            if self._used[who] == self.limit + 1:
                self._ends[who] = now + self._window
            rest, seconds = self.limit - self._used[who], math.ceil(self._ends[who] - now)
        if rest < 0:
            raise ApiError(THROTTLED, retry_after=max(seconds, 1))
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(rest),
            "X-RateLimit-Reset": str(seconds),
        }

    def reset(self) -> None:
        """Forget what was counted."""
        with self._lock:
            self._used.clear()
            self._ends.clear()
