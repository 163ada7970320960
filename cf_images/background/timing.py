"""Every duration of background uploads, in one place."""

from __future__ import annotations

import random
from datetime import timedelta

# One attempt may hold its row for three requests of a minute each.
LEASE = timedelta(seconds=180)
REQUEST = 60.0  # seconds, the total deadline of one request

FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(hours=1)

# A worker whose clock is behind the web server's must take a new row for due.
CLOCK_SKEW = timedelta(minutes=1)

# What a worker takes besides the row it was rung for.
MOST_ROWS = 10
LONGEST_RUN = 5.0  # seconds

RING = 5.0  # seconds that ringing may take

# A fresh ID is "not found" at times: a second answer, this much later, counts.
SECOND_DELETE = timedelta(minutes=5)

# Cloudflare refuses more than six hours by its own clock ("Direct creator upload" in its documentation);
# ours may be ahead.
RESERVATION = timedelta(hours=5)
RESERVATION_MARGIN = timedelta(minutes=5)  # before its end, so that the last POST has had its answer

# Cloudflare may still be fetching the URL of an attempt that we have no answer of.
FETCHED_BY_CLOUDFLARE = timedelta(minutes=2)

GATE_RATE_LIMITED = timedelta(seconds=60)  # without a Retry-After
GATE_SHORTEST_RETRY_AFTER = timedelta(seconds=1)  # "0", or a date that is past, must not make a hot loop
GATE_LONGEST_RETRY_AFTER = timedelta(seconds=600)
GATE_REFUSED = timedelta(minutes=5)
GATE_FAILURES = 5  # unclear answers in a row that close it
GATE_UNCLEAR = timedelta(seconds=15)  # doubled with each failed probe
GATE_LONGEST_UNCLEAR = timedelta(seconds=120)

# url(): so long a new image is served by us without asking; so often the names still here are read.
YOUNG = 60  # seconds
REFRESH = 10.0  # seconds


def pause(attempts: int) -> timedelta:
    """How long to wait after so many attempts: doubling, and spread so that rows do not march in step."""
    longest: timedelta = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(attempts, 20))
    return longest * random.uniform(0.5, 1)  # noqa: S311  # no secret
