"""Where rows can be processed now: the storages in ``STORAGES``, and their accounts.

A row whose storage is not in the settings any more, or is misconfigured, stays; nothing is lost.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import InvalidStorageError, Storage, storages

from cf_images import conf
from cf_images.accounts import Account, find_account
from cf_images.background.rows import unfinished

logger = logging.getLogger("cf_images.background")

_reported: set[str] = set()


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """A storage that rows name; without an ``account`` its files stay on this machine."""

    alias: str
    storage: Storage
    account: Account | None

    @property
    def account_key(self) -> str:
        """The key of its circuit breaker."""
        return self.account.key if self.account else ""


def destinations() -> dict[str, Destination]:
    """Return all usable storages by alias; one that is not, while rows name it, is logged once per
    process.
    """
    found = {}
    for alias in conf.storage_declarations():
        try:
            destination = Destination(alias=alias, storage=storages[alias], account=find_account(alias))
            destination.account_key  # noqa: B018  # raises for wrong settings
            found[alias] = destination
        except (InvalidStorageError, ImproperlyConfigured) as error:
            if unfinished().filter(storage=alias).exists():  # static files, for example, have no rows
                report(alias, str(error))
    return found


def unknown_storages() -> list[str]:
    """Return the aliases that unfinished rows name and that cannot be used."""
    named = unfinished().values_list("storage", flat=True).distinct()
    return sorted(set(named) - destinations().keys())


def report(alias: str, problem: str) -> None:
    """Log one line per alias, not one per image."""
    if alias not in _reported:
        _reported.add(alias)
        logger.error("Images are pending for the storage %r, which cannot be used: %s", alias, problem)
