"""The keys that sign delivery URLs: from the settings, or fetched from the account once and remembered.

Keys in the settings cost nothing. Without them the first signed address of a process waits for one request;
after ten minutes a thread asks again while pages go on with what is known. No key leaves the process.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cf_images import conf
from cf_images.exceptions import CloudflareImagesError, CloudflareUnavailableError

if TYPE_CHECKING:
    from cf_images.client import SigningKey

logger = logging.getLogger("cf_images.keys")

FRESH = 600.0  # seconds; a rotation is over once every process has asked again
_AFTER_FAILURE = 5.0  # seconds in which a failure is told again instead of asking
_TIMEOUT = 10.0  # seconds; a page waits for this
# What the command `cf_images keys --rotate` calls its keys: the moment in UTC, which sorts.
OUR_NAME = re.compile(r"k\d{14}")


def signing_keys(options: Mapping[str, Any]) -> tuple[str, ...]:
    """The keys of the account that a storage's ``options`` name, oldest first: the last one signs.

    Raises ``CloudflareUnavailableError`` and its like where they must be fetched and cannot be.
    """
    if keys := conf.signing_keys(options):
        return keys
    account = (conf.option("api_url", options), conf.credential("account_id", options))
    return _remembered.setdefault(account, _Account()).keys(options)


def known_keys(options: Mapping[str, Any]) -> tuple[str, ...]:
    """The same without asking anybody: none where they are not known yet."""
    remembered = _remembered.get((conf.option("api_url", options), conf.option("account_id", options)))
    return conf.signing_keys(options) or (remembered.known if remembered else ())


def by_age(found: Iterable[SigningKey]) -> list[SigningKey]:
    """Oldest first: Cloudflare does not tell the age, so that of ours stands in their names."""
    return sorted(found, key=lambda key: key.name if OUR_NAME.fullmatch(key.name) else "")


def forget_all() -> None:
    """Begin anew: in a test, or in a forked process, where a thread of the parent may have held a lock."""
    _remembered.clear()


@dataclass(slots=True, repr=False)
class _Account:
    """The keys of one account, as this process knows them."""

    known: tuple[str, ...] = ()
    asked_at: float = 0.0
    failure: str = ""
    asking: threading.Lock = field(default_factory=threading.Lock)

    def keys(self, options: Mapping[str, Any]) -> tuple[str, ...]:
        known = self.known
        if not known:
            return self._asked_first(options)
        if time.monotonic() - self.asked_at >= FRESH and self.asking.acquire(blocking=False):
            self.asked_at = time.monotonic()
            self._ask_beside(options)
        return known

    def _asked_first(self, options: Mapping[str, Any]) -> tuple[str, ...]:
        # while one thread asks again after a failure, the others are told of it: they need not hang as well
        if not self.asking.acquire(blocking=not self.failure):
            raise CloudflareUnavailableError(self.failure)
        try:
            self._ask(options)
        finally:
            self.asking.release()
        if not self.known:
            raise CloudflareUnavailableError(self.failure)
        return self.known

    def _ask(self, options: Mapping[str, Any]) -> None:
        failed_just_now = self.failure and time.monotonic() - self.asked_at < _AFTER_FAILURE
        if self.known or failed_just_now:
            return  # another thread has been faster
        try:
            self.known = _fetched(options)
        except CloudflareImagesError as error:
            self.failure = (
                f"The signing keys of private images cannot be fetched: {error} With the keys in "
                f"CF_IMG_SIGNING_KEYS pages do not depend on this request."
            )
        self.asked_at = time.monotonic()  # now: others may have waited for the answer as long as we have

    def _ask_beside(self, options: Mapping[str, Any]) -> None:
        try:
            threading.Thread(target=self._ask_again, args=[options], daemon=True).start()
        except RuntimeError as error:  # no thread can be had
            self.asking.release()
            logger.warning("The signing keys cannot be fetched again: %s", error)

    def _ask_again(self, options: Mapping[str, Any]) -> None:
        try:
            self.known = _fetched(options)
        except Exception as error:  # noqa: BLE001  # nobody waits for this thread; what is known stays good
            logger.warning("The signing keys cannot be fetched again: %s", error)
        finally:
            self.asking.release()


_remembered: dict[tuple[str, str], _Account] = {}


def _fetched(options: Mapping[str, Any]) -> tuple[str, ...]:
    """The values that the account has now, oldest first."""
    from cf_images.client import CloudflareImagesClient  # httpx, only for a request

    client = CloudflareImagesClient(
        conf.credential("account_id", options),
        conf.credential("api_token", options),
        api_url=conf.option("api_url", options),
        timeout=min(_TIMEOUT, conf.option("timeout", options)),
        retry=False,
    )
    found = by_age(client.signing_keys())
    if not found:
        raise CloudflareUnavailableError("The account has none; manage.py cf_images keys --rotate adds one.")
    return tuple(key.value for key in found)


if hasattr(os, "register_at_fork"):  # pragma: no branch  # Windows does not fork
    os.register_at_fork(after_in_child=forget_all)
