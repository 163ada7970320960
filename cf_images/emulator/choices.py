"""What nobody outside Cloudflare knows, decided: every guess of this emulator is a constant here.

* A second POST to an upload URL: ``USED_UPLOAD_URL``; one after the expiry: ``EXPIRED_UPLOAD_URL`` (the
  draft is gone and its ID free).
* A custom ID that breaks a rule, an expiry out of range, too much metadata, both or neither of ``file`` and
  ``url``, a failing origin, the 101st variant, the third key: ``BAD_REQUEST`` of :mod:`.errors`.
* Deleting the last signing key makes a new ``default`` one; ``KEEP_LAST_KEY = True`` refuses instead (the
  published schema and what has been observed disagree).
* Deleting the variant ``public`` answers 200 and keeps it.
* A page size out of range is taken as the nearest one allowed; below ten is honored, as observed.
* Lists are newest first. A page token is the position of the last image.
* A signature without ``exp`` covers the bare path.
* A draft is not delivered: 404.
* An expired batch token, a wrong token, no token: ``AUTHENTICATION`` of :mod:`.errors`.
* A megabyte has 1,048,576 bytes.
* Metadata filters without a type compare the value's text; an array or a number never equals a string tag.
* ``uploaded`` of a direct upload is the moment of the upload, not of the draft.
"""

from __future__ import annotations

from cf_images.emulator.errors import EXISTS, NOT_FOUND

USED_UPLOAD_URL = EXISTS
EXPIRED_UPLOAD_URL = NOT_FOUND
KEEP_LAST_KEY = False
NEWEST_FIRST = "desc"
SMALLEST_PAGE = 1
RETRY_AFTER_BATCH = 1
PRIVATE_MAX_AGE = 3_600
"""Seconds a browser may keep a private image; never longer than its signature lives."""
SIGNED_WITHOUT_EXPIRY = True
