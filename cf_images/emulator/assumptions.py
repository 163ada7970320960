"""Assumptions about what Cloudflare does not document; change a constant here to assume otherwise.

* A second POST to an upload URL fails with ``USED_UPLOAD_URL``, one after the expiry with
  ``EXPIRED_UPLOAD_URL``. An expired draft no longer exists, and its ID is free.
* ``BAD_INPUT`` is the error for: a custom ID that breaks a rule, an expiry out of range, metadata that is
  too long, both or neither of ``file`` and ``url``, a failing origin, an image with too many pixels, and a
  variant or signing key above the maximum.
* Deleting the last signing key creates a new one named ``default``, as the published schema says. With
  ``KEEP_LAST_KEY = True`` it fails instead, as was observed once.
* Deleting the variant ``public`` succeeds, but the variant stays.
* A ``per_page`` out of range is replaced by the nearest allowed number. The published minimum is 10, but
  smaller numbers were observed to work, down to ``MIN_PER_PAGE``.
* ``LIST_ORDER`` is the order of lists. A continuation token is the position of the last image.
* Metadata filters without a type compare strings, numbers and booleans as text.
* A signature without ``exp`` covers the path alone and never expires.
* Browsers may cache a private image for ``PRIVATE_MAX_AGE``, but never longer than its signature is valid.
* A draft is not delivered: the response is "not found".
* A missing token, a wrong token and an expired batch token all fail with ``AUTHENTICATION``.
* ``uploaded`` is the time of the upload; for a draft, the time at which it was requested.
* An SVG keeps embedded images of the types in ``SVG_DATA_URLS``, which the content security policy allows.
* One megabyte in the size limit is 1,048,576 bytes.

What Cloudflare's own SDKs send and its documentation does not have is accepted, and ``guess`` logs it, since
Cloudflare may refuse or ignore it:

* An empty form for an upload URL, which the SDKs send if no option is given.
* Metadata as ``metadata.a`` or ``metadata[a]``, one field for each value (``flattened``).
"""

from __future__ import annotations

import logging

from cf_images.emulator.errors import BAD_REQUEST, EXISTS, NOT_FOUND

USED_UPLOAD_URL = EXISTS
EXPIRED_UPLOAD_URL = NOT_FOUND
BAD_INPUT = BAD_REQUEST
KEEP_LAST_KEY = False
MIN_PER_PAGE = 1
LIST_ORDER = "desc"
PRIVATE_MAX_AGE = 3_600
"""Seconds."""
SVG_DATA_URLS = {"image": ["gif", "jpeg", "png", "webp"]}

_logger = logging.getLogger("cf_images.emulator")


def guess(text: str, *values: object) -> None:
    """Log that a request was accepted although it is unknown what Cloudflare does with it."""
    _logger.warning(f"Guessed, Cloudflare may respond otherwise: {text}.", *values)  # noqa: G004  # constant
