"""One call of the API through its attempts: which failure may be tried again, and when."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from cf_images.client.answers import Answer, NoAnswer, error_of, result_of
from cf_images.client.door import Download, Request, exchange
from cf_images.exceptions import CloudflareImagesError, CloudflareUnavailableError, RateLimitedError

T = TypeVar("T")

LONGEST_PAUSE = 2.0  # seconds; a Retry-After may be longer
_RETRY_SECONDS = 10.0  # no attempt begins later after the first
_UNREADABLE = (AttributeError, LookupError, TypeError, ValueError)


@dataclass(slots=True, kw_only=True, repr=False)
class Call(Generic[T]):
    """One call and what became of it so far.

    ``repeatable`` when carrying it out twice does no harm; ``unclear`` once an attempt failed that
    Cloudflare may have carried out.
    """

    request: Request
    read: Callable[[Any], T]
    repeatable: bool
    unclear: bool = False
    began: float = 0.0

    def backoff(self, error: Exception) -> bool | float:
        """Whether another attempt may follow this error, or after how many seconds: stamina's hook."""
        if not isinstance(error, CloudflareUnavailableError) or (self.unclear and not self.repeatable):
            return False
        left = self.began + _RETRY_SECONDS - time.monotonic()
        if isinstance(error, RateLimitedError):
            wait = error.retry_after
            return wait if wait is not None and wait <= left else False
        return left >= LONGEST_PAUSE

    def attempt(self) -> T:
        """Send once; the answer as ``read`` has it, or one of our errors."""
        self.began = self.began or time.monotonic()
        outcome = exchange(self.request)
        if isinstance(outcome, Download):
            return self.read(outcome)
        if not isinstance(outcome, NoAnswer):
            try:
                return self.read(result_of(outcome))
            except _UNREADABLE:
                pass
        # Outside the except block: an error must not carry another one with it.
        error = error_of(outcome, request=self.request.line, secrets=self.request.secrets)
        self.unclear = self.unclear or _is_unclear(outcome, error)
        raise error


def _is_unclear(outcome: Answer | NoAnswer, error: CloudflareImagesError) -> bool:
    """Whether Cloudflare may have done what we asked, although we got this error."""
    if isinstance(outcome, NoAnswer):
        return outcome.unclear
    return isinstance(error, CloudflareUnavailableError) and not isinstance(error, RateLimitedError)
