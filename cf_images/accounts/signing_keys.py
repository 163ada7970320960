"""Signing keys that were fetched from an account: once a process, and again beside pages every ten minutes.

Keys in the settings cost nothing and need nothing of this. Without them the first signed URL of a process
waits for one request; later requests run in a thread, while pages use what is known. Keys never leave the
process.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cf_images.exceptions import CloudflareImagesError, CloudflareUnavailableError

if TYPE_CHECKING:
    from cf_images.client import SigningKey

logger = logging.getLogger("cf_images.signing_keys")

FRESH = 600.0  # seconds; a rotation is complete once every process has fetched again
TIMEOUT = 10.0  # seconds; a page waits for this
_AFTER_FAILURE = 5.0  # seconds in which a failure is repeated instead of another request
# The name of a key that `cf_images keys --rotate` adds: the moment in UTC, which sorts.
GENERATED_NAME = re.compile(r"k\d{14}")

Fetch = Callable[[], tuple[str, ...]]


def fetched(account_key: str, fetch: Fetch) -> tuple[str, ...]:
    """Return the keys of an account, oldest first; ``fetch`` requests them.

    Raise ``CloudflareUnavailableError`` where they are not known and cannot be fetched.
    """
    return _accounts.setdefault(account_key, _AccountKeys()).keys(fetch)


def known(account_key: str) -> tuple[str, ...]:
    """Return the same without a request: none where they are not known yet."""
    account = _accounts.get(account_key)
    return account.known if account else ()


def by_age(found: Iterable[SigningKey]) -> list[SigningKey]:
    """Sort keys, oldest first. Cloudflare does not tell their age; the names of generated keys do."""
    return sorted(found, key=lambda key: key.name if GENERATED_NAME.fullmatch(key.name) else "")


def clear_cache() -> None:
    """Forget all keys: in a test, or in a forked process, where a thread of the parent may have held a
    lock.
    """
    _accounts.clear()


@dataclass(slots=True, repr=False)
class _AccountKeys:
    """The keys of one account, as this process knows them."""

    known: tuple[str, ...] = ()
    fetched_at: float = 0.0
    failure: str = ""
    fetching: threading.Lock = field(default_factory=threading.Lock)

    def keys(self, fetch: Fetch) -> tuple[str, ...]:
        known = self.known
        if not known:
            return self._first(fetch)
        if time.monotonic() - self.fetched_at >= FRESH and self.fetching.acquire(blocking=False):
            self.fetched_at = time.monotonic()
            self._refresh_in_thread(fetch)
        return known

    def _first(self, fetch: Fetch) -> tuple[str, ...]:
        # While one thread fetches again after a failure, the others get the failure: they need not wait, too.
        if not self.fetching.acquire(blocking=not self.failure):
            raise CloudflareUnavailableError(self.failure)
        try:
            self._fetch_unless_known(fetch)
        finally:
            self.fetching.release()
        if not self.known:
            raise CloudflareUnavailableError(self.failure)
        return self.known

    def _fetch_unless_known(self, fetch: Fetch) -> None:
        failed_recently = self.failure and time.monotonic() - self.fetched_at < _AFTER_FAILURE
        if self.known or failed_recently:
            return  # another thread was faster
        try:
            self.known = _not_empty(fetch())
        except CloudflareImagesError as error:
            self.failure = (
                f"The signing keys of private images cannot be fetched: {error.summary} With the keys in "
                f"CF_IMG_SIGNING_KEYS, pages do not depend on this request."
            )
        self.fetched_at = time.monotonic()  # now: other threads may have waited as long as this one

    def _refresh_in_thread(self, fetch: Fetch) -> None:
        try:
            threading.Thread(target=self._refresh, args=[fetch], daemon=True).start()
        except RuntimeError as error:  # the system has no more threads
            self._release()
            logger.warning("The signing keys cannot be fetched again: %s", error)
        except BaseException:  # interrupted, perhaps after the thread has started
            self._release()
            raise

    def _refresh(self, fetch: Fetch) -> None:
        try:
            self.known = _not_empty(fetch())
        except Exception as error:  # noqa: BLE001  # no caller sees this thread; known keys stay in use
            logger.warning("The signing keys cannot be fetched again: %s", error)
        finally:
            self._release()

    def _release(self) -> None:
        with suppress(RuntimeError):  # released before
            self.fetching.release()


_accounts: dict[str, _AccountKeys] = {}


def _not_empty(keys: tuple[str, ...]) -> tuple[str, ...]:
    if not keys:
        raise CloudflareUnavailableError(
            "The account has no signing key; manage.py cf_images keys --rotate adds one."
        )
    return keys


if hasattr(os, "register_at_fork"):  # pragma: no branch  # Windows does not fork
    os.register_at_fork(after_in_child=clear_cache)
