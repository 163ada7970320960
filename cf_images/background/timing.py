"""Every duration of background uploads, in one place."""

from __future__ import annotations

import random
from datetime import timedelta

# One attempt may hold its row for three requests of a minute each.
LEASE = timedelta(seconds=180)
REQUEST_SECONDS = 60.0  # the total deadline of one request

FIRST_PAUSE = timedelta(seconds=5)
MAX_PAUSE = timedelta(hours=1)

# A worker whose clock is behind the web server's must take a new row for due.
CLOCK_SKEW = timedelta(minutes=1)

# The limits of one run of a worker.
MAX_ROWS = 10
MAX_RUN_SECONDS = 5.0

NOTIFY_SECONDS = 5.0  # the time that a queue has to accept a message

# A fresh ID is "not found" at times. A second response, this much later, counts.
SECOND_DELETE = timedelta(minutes=5)

# Cloudflare refuses more than six hours by its own clock ("Direct creator upload" in its documentation); this
# machine's may be ahead.
RESERVATION = timedelta(hours=5)
RESERVATION_MARGIN = timedelta(minutes=5)  # before its end, so that the last POST has had its response

# Cloudflare may still be fetching the URL of an attempt without a response.
FETCHED_BY_CLOUDFLARE = timedelta(minutes=2)

BREAKER_RATE_LIMITED = timedelta(seconds=60)  # without a Retry-After
BREAKER_MIN_RETRY_AFTER = timedelta(seconds=1)  # "0", or a date in the past, must not make a hot loop
BREAKER_MAX_RETRY_AFTER = timedelta(seconds=600)
BREAKER_CREDENTIALS = timedelta(minutes=5)
BREAKER_FAILURES = 5  # unclear responses in a row that open it
BREAKER_UNCLEAR = timedelta(seconds=15)  # doubled with each failed probe
BREAKER_MAX_UNCLEAR = timedelta(seconds=120)

# url(): a new image is served by this site for so long without a query; pending names are read this often.
ASSUME_PENDING_SECONDS = 60
REFRESH_SECONDS = 10.0


def pause(attempts: int) -> timedelta:
    """Return the pause after so many attempts: doubling, and random so that rows do not march in step."""
    longest: timedelta = min(MAX_PAUSE, FIRST_PAUSE * 2 ** min(attempts, 20))
    return longest * random.uniform(0.5, 1)  # noqa: S311  # no secret
