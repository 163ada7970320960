"""Where rows can be delivered now: the storages in ``STORAGES`` and their accounts.

A row whose storage has gone from the settings, or is not configured, waits; nothing is lost.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import InvalidStorageError, Storage, storages
from django.db.models import QuerySet

from cf_images.background.database import uploads
from cf_images.models import MOVING, Upload

logger = logging.getLogger("cf_images.background")

_complained: set[str] = set()


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A storage that rows name; ``account_id`` is empty where files stay on this machine."""

    alias: str
    storage: Storage
    account_id: str

    @property
    def is_cloudflare(self) -> bool:
        """Whether it is one of ours, rather than local files."""
        return hasattr(self.storage, "make_client")


def targets() -> dict[str, Target]:
    """By alias, all that can be used; if images wait for one that cannot, that is logged once per process."""
    found = {}
    for alias in settings.STORAGES:
        try:
            found[alias] = _target(alias)
        except (InvalidStorageError, ImproperlyConfigured) as error:
            if _waiting().filter(storage=alias).exists():  # others, as for static files, are not our concern
                complain(alias, str(error))
    return found


def stranded() -> list[str]:
    """The aliases of rows that wait for a storage which is not in the settings."""
    waiting = _waiting().values_list("storage", flat=True).distinct()
    return sorted(set(waiting) - targets().keys())


def complain(alias: str, problem: str) -> None:
    """One clear line in the log, not one for each image."""
    if alias not in _complained:
        _complained.add(alias)
        logger.error("Images wait for the storage %r, which cannot be used: %s", alias, problem)


def _waiting() -> QuerySet[Upload]:
    return uploads().filter(state__in=MOVING)


def _target(alias: str) -> Target:
    storage = storages[alias]
    option = getattr(storage, "option", None)
    # Without an account ID the attempt fails with the right message, and shuts the gate named like the alias.
    account_id = (option("account_id") or alias) if option else ""
    return Target(alias=alias, storage=storage, account_id=str(account_id))
