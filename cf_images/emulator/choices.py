"""What nobody outside Cloudflare knows, decided: every guess of this emulator is a constant here.

* A second POST to an upload URL: ``USED_UPLOAD_URL``. One after the expiry: ``EXPIRED_UPLOAD_URL``; the
  draft is gone then, and its ID free.
* A rule of custom IDs broken, an expiry out of range, too much metadata, both or neither of ``file`` and
  ``url``, a failing origin, an image over the limits in pixels, a variant or a key too many: ``BAD_INPUT``.
* Deleting the last signing key makes a new ``default`` one, as the published schema says; refusing it, as
  was once observed, is ``KEEP_LAST_KEY = True``.
* Deleting the variant ``public`` is answered with success, and ``public`` stays.
* A page size out of range is taken as the nearest one that is allowed; less than the published minimum of
  ten is honored, as was observed, down to ``SMALLEST_PAGE``.
* Lists are in ``LIST_ORDER``; a continuation token is the position of the last image.
* Filters on metadata that name no type compare the text of strings, numbers and truth values.
* A signature without ``exp`` covers the bare path, and never ends.
* The browser may keep a private image for ``PRIVATE_MAX_AGE``, never longer than its signature lasts.
* A draft is not delivered: it is not found.
* No token, a wrong token and an expired batch token are refused alike: ``AUTHENTICATION`` of :mod:`.errors`.
* ``uploaded`` of a direct upload is the moment of the upload; of its draft, the moment it was asked for.
* In an SVG the images in ``SVG_DATA_URLS`` stay, as the content security policy allows them.
* A megabyte of the limit in bytes has 1,048,576 of them.
"""

from __future__ import annotations

from cf_images.emulator.errors import BAD_REQUEST, EXISTS, NOT_FOUND

USED_UPLOAD_URL = EXISTS
EXPIRED_UPLOAD_URL = NOT_FOUND
BAD_INPUT = BAD_REQUEST
KEEP_LAST_KEY = False
SMALLEST_PAGE = 1
LIST_ORDER = "desc"
PRIVATE_MAX_AGE = 3_600
"""Seconds."""
SVG_DATA_URLS = {"image": ["gif", "jpeg", "png", "webp"]}
