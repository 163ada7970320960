"""The retry policy: how many attempts a request has, which failure may be tried again, and when."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import stamina

from cf_images.client.responses import RateLimit, Response, TransportFailure, error_for, read_result
from cf_images.client.transport import Download, Request, exchange
from cf_images.exceptions import CloudflareImagesError, CloudflareUnavailableError, RateLimitedError

T = TypeVar("T")

ATTEMPTS = 4
MAX_PAUSE = 2.0  # seconds between two attempts; a Retry-After may be longer
_RETRY_SECONDS = 10.0  # no attempt starts later after the first
_UNREADABLE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


class Pace(Protocol):
    """Who decides when a request may be sent, and learns what Cloudflare says of its limit."""

    def before_request(self) -> None:
        """Return when the request may be sent."""

    def observe(self, limit: RateLimit) -> None:
        """Take note of a response's headers."""


@dataclass(slots=True, kw_only=True, repr=False)
class Attempts(Generic[T]):
    """A request, its attempts so far, and how to read its result.

    ``repeatable`` if carrying it out twice does no harm; ``unclear`` once an attempt has failed that
    Cloudflare may have carried out.
    """

    request: Request
    read: Callable[[Any], T]
    repeatable: bool
    pace: Pace | None = None
    unclear: bool = False
    started: float = 0.0

    def backoff(self, error: Exception) -> bool | float:
        """Return whether to try again after this error, or after how many seconds: stamina's hook."""
        if not isinstance(error, CloudflareUnavailableError) or (self.unclear and not self.repeatable):
            return False
        left = self.started + _RETRY_SECONDS - time.monotonic()
        if isinstance(error, RateLimitedError):
            wait = error.retry_after
            return wait if wait is not None and wait <= left else False
        return left >= MAX_PAUSE

    def attempt(self) -> T:
        """Send the request once; return what ``read`` makes of the result, or raise this package's error."""
        if self.pace:
            self.pace.before_request()
        self.started = self.started or time.monotonic()
        outcome = exchange(self.request)
        if self.pace and isinstance(outcome, Response) and outcome.rate_limit:
            self.pace.observe(outcome.rate_limit)
        if isinstance(outcome, Download):
            return self.read(outcome)
        if not isinstance(outcome, TransportFailure):
            try:
                return self.read(read_result(outcome))
            except _UNREADABLE:
                pass
        # Outside the except block: an error must not carry another one with it.
        error = error_for(outcome, request=self.request.line, secrets=self.request.secrets)
        self.unclear = self.unclear or _is_unclear(outcome, error)
        raise error


def _is_unclear(outcome: Response | TransportFailure, error: CloudflareImagesError) -> bool:
    """Return whether Cloudflare may have carried out the request despite this error."""
    if isinstance(outcome, TransportFailure):
        return outcome.unclear
    return isinstance(error, CloudflareUnavailableError) and not isinstance(error, RateLimitedError)


# Without a timeout of its own: Attempts.backoff keeps the time.
RETRYING = stamina.RetryingCaller(
    attempts=ATTEMPTS, timeout=None, wait_initial=0.2, wait_max=MAX_PAUSE, wait_jitter=0.3
)
