"""Every duration of background uploads, in one place."""

from __future__ import annotations

import random
from datetime import timedelta

# A lease is renewed before each request and outlasts it, so that no other worker touches the row meanwhile.
# What a killed worker had is taken over when it ends.
LEASE = timedelta(seconds=50)
REQUEST_SECONDS = 40.0  # the total deadline of one request; 10 MB need 2 Mbit/s
LEASE_FRESH = timedelta(seconds=5)  # a lease that is no older outlasts a request

# Between two attempts for one image. While two of five requests fail, most images need two or three attempts,
# and one in two hundred needs seven; one that fails forty-five times in a row is tried each hour.
FIRST_PAUSE = timedelta(seconds=1)
PAUSE_FACTOR = 1.2
MAX_PAUSE = timedelta(hours=1)

# A worker whose clock is behind the web server's must take a new row for due.
CLOCK_SKEW = timedelta(minutes=1)

# A worker of the site's queue works for so long, then other tasks have their turn.
MAX_RUN_SECONDS = 5.0

NOTIFY_SECONDS = 5.0  # the time that a queue has to accept a message

# A fresh ID is "not found" at times. A second response, this much later, counts.
SECOND_DELETE = timedelta(minutes=5)

# The same of an ID that was reserved and perhaps filled: it is reserved anew only after that.
SECOND_LOOK = timedelta(seconds=30)

# Cloudflare may still be fetching the URL of an attempt without a response.
FETCHED_BY_CLOUDFLARE = timedelta(minutes=2)

# A DELETE may be carried out for so long after its lease was renewed, also if the worker was suspended in
# between: an image that takes the name of the deleted one meanwhile is not considered stored before.
DELETE_ARRIVES = timedelta(minutes=5)

# After its upload URL has expired, a file that a browser began to send before may still arrive.
BROWSER_UPLOAD_ARRIVES = timedelta(minutes=5)

BREAKER_RATE_LIMITED = timedelta(seconds=60)  # without a Retry-After
BREAKER_MIN_RETRY_AFTER = timedelta(seconds=1)  # "0", or a date in the past, must not make a hot loop
BREAKER_MAX_RETRY_AFTER = timedelta(seconds=600)
BREAKER_CREDENTIALS = timedelta(minutes=5)
BREAKER_OTHER_TOKEN = timedelta(seconds=10)  # in which a process with the refused token tries it once
# Unclear responses in a row that open it. While four of ten requests fail at random, ten in a row are one in
# ten thousand; in an outage they are a few seconds.
BREAKER_FAILURES = 10
BREAKER_UNCLEAR = timedelta(seconds=2)  # doubled with each failed probe
BREAKER_MAX_UNCLEAR = timedelta(seconds=60)

# Short pauses follow one another while Cloudflare limits the rate: one of them is logged in so long, …
LOG_PAUSES = timedelta(minutes=10)
LOG_LASTING = timedelta(minutes=1)  # … and any that lasts for so long.

# url(): a new image is served by this site for so long without a query. Its age counts from the moment when
# its name was chosen, and other processes see it after the commit: it is the longest transaction that is
# supported.
ASSUME_PENDING_SECONDS = 300
REFRESH_SECONDS = 10.0  # pending names are read this often


def pause(attempts: int) -> timedelta:
    """Return the pause after so many attempts: growing, and random so that rows do not march in step."""
    longest: timedelta = min(MAX_PAUSE, FIRST_PAUSE * PAUSE_FACTOR ** min(attempts, 60))
    return longest * random.uniform(0.5, 1)  # noqa: S311  # no secret
