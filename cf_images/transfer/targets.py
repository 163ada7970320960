"""The places whose files are compared: images of an account, at its pace, or the files of a storage."""

from __future__ import annotations

from collections import deque

from django.core.files.storage import Storage

from cf_images.accounts import Account
from cf_images.background import places
from cf_images.background.pace import pace_of
from cf_images.client.responses import RateLimit
from cf_images.exceptions import ImageNotFoundError
from cf_images.images import names
from cf_images.storage import legacy_names
from cf_images.transfer.comparison import Copy, Result, compare_file, compare_image


def target_of(place: str, *, read_bytes: bool) -> Target:
    """Return the place as the ledger writes it; raise ``ImproperlyConfigured`` for what is none."""
    account = places.account_of(place)
    if account is None:
        return Target(places.storage_of(place), read_bytes=read_bytes)
    return CloudflareTarget(account, read_bytes=read_bytes)


class Target:
    """The files of a storage. Only ``compare`` may be called by another thread."""

    requests = 1  # of a comparison, each of which needs a slot

    def __init__(self, storage: Storage, *, read_bytes: bool) -> None:
        self._storage = storage
        self._read_bytes = read_bytes

    def compare(self, copy: Copy) -> Result:
        """Compare a file with what the ledger says of it."""
        return compare_file(self._storage, copy, read_bytes=self._read_bytes)

    def copy_of_url(self, name: str) -> Copy | None:  # noqa: ARG002  # files have none
        """Return what is to be found for a name that is the URL of an image there; ``None`` for others."""
        return None

    def acquire(self, *, max_wait: float) -> float:  # noqa: ARG002  # files have no limit
        """Wait for the slot of a request, as ``Pace.acquire`` does."""
        return 0.0

    def passed(self) -> None:
        """Take note of a comparison."""

    def limited(self, pause: float) -> None:
        """Take note of a rate limit, and of the pause in seconds that follows."""


class CloudflareTarget(Target):
    """The images of an account."""

    def __init__(self, account: Account, *, read_bytes: bool) -> None:
        self.requests = 2 if read_bytes else 1
        self._account = account
        self._read_bytes = read_bytes
        self._pace = pace_of(account.key)
        self._observed = deque[RateLimit]()
        self._client = account.client(retry=False, pace=self)

    def compare(self, copy: Copy) -> Result:
        """Compare an image with what the ledger says of it; raise the client's errors."""
        return compare_image(self._client, copy, read_bytes=self._read_bytes)

    def copy_of_url(self, name: str) -> Copy | None:
        """Return the image of a delivery URL, as older recipes stored it."""
        if not names.is_url(name):
            return None
        try:
            return Copy(name=name, image_id=legacy_names.image_id(name, self._account))
        except ImageNotFoundError:
            return None

    def acquire(self, *, max_wait: float) -> float:
        """Wait for a slot of the account's pace."""
        return self._pace.acquire(max_wait=max_wait)

    def passed(self) -> None:
        """Let the pace know of the requests, and of what Cloudflare said of its limit."""
        while self._observed:
            self._pace.observe(self._observed.popleft())
        for _ in range(self.requests):
            self._pace.passed()

    def limited(self, pause: float) -> None:
        """Lower the pace for all workers."""
        self._pace.limited(pause=pause)

    # What the client calls, in the thread of the request: slots were acquired before, and the pace writes
    # into the database.

    def before_request(self) -> None:
        """Send the request now."""

    def observe(self, limit: RateLimit) -> None:
        """Keep what Cloudflare says of its limit."""
        self._observed.append(limit)
