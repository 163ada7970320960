"""Requests of a command to an account, at the pace that the account's workers share."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TypeVar

from cf_images.accounts import Account
from cf_images.background import circuit_breaker
from cf_images.background.circuit_breaker import Admission
from cf_images.background.pace import pace_of
from cf_images.client import CloudflareImagesClient
from cf_images.client.responses import RateLimit
from cf_images.exceptions import (
    CloudflareImagesError,
    CredentialsRefusedError,
    ImageNotFoundError,
    ImageRejectedError,
    RateLimitedError,
)

T = TypeVar("T")

_ATTEMPTS = 5  # of a request that is limited each time, after the pause that was asked for
_MAX_FAILURES = 5  # in a row, which are about no single image


class PacedRequests:
    """Sends requests one after another; a rate limit pauses them, and the account's workers."""

    def __init__(self, account: Account) -> None:
        self._pace = pace_of(account.key)
        self._admission = Admission(account_key=account.key, token_digest=account.token_digest)
        self._client = account.client(pace=self)
        self._failures = 0

    def send(self, request: Callable[[CloudflareImagesClient], T]) -> T:
        """Return what ``request`` returns; call it again where Cloudflare limits the rate."""
        try:
            result = self._send(request)
        except (ImageNotFoundError, ImageRejectedError):
            self._failures = 0
            raise
        except CloudflareImagesError:
            self._failures += 1
            raise
        self._failures = 0
        return result

    def are_hopeless(self, error: CloudflareImagesError) -> bool:
        """Return whether other requests would fail as well, after this error of the last one."""
        return isinstance(error, CredentialsRefusedError) or self._failures >= _MAX_FAILURES

    def _send(self, request: Callable[[CloudflareImagesClient], T]) -> T:
        for _ in range(_ATTEMPTS - 1):
            try:
                return request(self._client)
            except RateLimitedError as error:
                pause = circuit_breaker.rate_limited(self._admission, retry_after=error.retry_after)
            self._pace.limited(pause=pause.total_seconds())
            time.sleep(pause.total_seconds())
        return request(self._client)

    def before_request(self) -> None:
        """Wait until the next request may be sent."""
        self._pace.acquire(max_wait=math.inf)
        self._pace.passed()

    def observe(self, limit: RateLimit) -> None:
        """Take note of a response's headers."""
        self._pace.observe(limit)
