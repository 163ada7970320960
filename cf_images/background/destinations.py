"""Where rows can be processed now: the accounts of the storages in ``STORAGES``, and local storages.

A row belongs to an account. One whose account is not that of a storage here (other credentials, another
site on the same database), or whose local storage is not in the settings any more, is left alone; nothing
is lost.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime

from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import InvalidStorageError, Storage, storages
from django.db.models import QuerySet

from cf_images import conf
from cf_images.accounts import Account, find_account
from cf_images.background.pace import batch_key, is_batch
from cf_images.background.rows import unfinished, unfinished_reservations, unfinished_transfers, uploads
from cf_images.models import TOKEN_DIGEST_LENGTH, Reservation, Transfer, Upload

logger = logging.getLogger("cf_images.background")

LOCAL = ""  # the account of rows whose files stay on this machine

_MAX_OTHERS = 1000  # rows of another account that are read to learn their storages

_reported: set[str] = set()
_adopted: int | None = None  # the generation of settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """An account, with the accounts of the aliases that use it; or all local ``storages`` by alias.

    Each attempt at Cloudflare is made within ``slots``, which may be fewer than there are threads.
    """

    account_key: str
    accounts: Mapping[str, Account]
    storages: Mapping[str, Storage]
    slots: AbstractContextManager[object] = field(default_factory=nullcontext)

    @property
    def is_batch(self) -> bool:
        """Whether requests go to the batch host, which has a limit of its own; only transfers do."""
        return is_batch(self.account_key)

    @property
    def token_digest(self) -> str:
        """A digest of the tokens that a worker uses, mostly one; empty for local files."""
        digests = sorted({account.token_digest for account in self.accounts.values()})
        if not digests:
            return ""
        return hashlib.sha256("".join(digests).encode()).hexdigest()[:TOKEN_DIGEST_LENGTH]

    def account_for(self, alias: str) -> Account:
        """Return the account of an alias; if the alias has gone, of another one with the same account."""
        return self.accounts.get(alias) or next(iter(self.accounts.values()))

    def rows(self, *, after: datetime | None = None) -> QuerySet[Upload]:
        """Return the unfinished rows that can be processed here; those due ``after`` a moment."""
        rows = unfinished(after=after).filter(account=self.account_key)
        if self.is_batch:
            return rows.none()
        return rows.filter(storage__in=list(self.storages)) if self.account_key == LOCAL else rows

    def transfers(self, *, after: datetime | None = None) -> QuerySet[Transfer]:
        """Return the same of transfers, without those that belong to a command."""
        # IN, since Django writes a comparison with True so that SQLite does not find it in the index.
        rows = unfinished_transfers(after=after).filter(account=self.account_key, is_enqueued__in=[True])
        return rows.filter(storage__in=list(self.storages)) if self.account_key == LOCAL else rows

    def reservations(self, *, after: datetime | None = None) -> QuerySet[Reservation]:
        """Return the same of reservations: those of uploads from browsers that were never saved."""
        rows = unfinished_reservations(after=after).filter(account=self.account_key)
        if self.is_batch:
            return rows.none()
        return rows.filter(storage__in=list(self.storages)) if self.account_key == LOCAL else rows


def destinations() -> list[Destination]:
    """Return all accounts and local storages that can be used."""
    _adopt_rows()
    return _usable()[0]


@conf.cached
def _usable() -> tuple[list[Destination], dict[str, str]]:
    accounts: dict[str, dict[str, Account]] = {}
    local: dict[str, Storage] = {}
    problems: dict[str, str] = {}
    for alias in conf.storage_declarations():
        try:
            storage, account = storages[alias], find_account(alias)
            if account is None:
                local[alias] = storage
            else:
                accounts.setdefault(account.key, {})[alias] = account
        except (InvalidStorageError, ImproperlyConfigured) as error:
            problems[alias] = str(error)
    found = [Destination(account_key=LOCAL, accounts={}, storages=local)]
    for key, members in accounts.items():
        found.append(Destination(account_key=key, accounts=members, storages={}))
        found.append(Destination(account_key=batch_key(key), accounts=members, storages={}))
    return found, problems


def _adopt_rows(*, again: bool = False) -> None:
    """Give rows that were made without an account ID their account: at the start of a process, after each
    change of settings, and in each sweep, since the process that lacks the ID may be another one.
    """
    global _adopted
    generation = conf.generation()
    if _adopted == generation and not again:
        return
    for destination in _usable()[0]:
        for account in destination.accounts.values():
            if account.key != account.key_without_id:
                unfinished().filter(account=account.key_without_id).update(account=account.key)
    _adopted = generation


def unprocessable() -> list[tuple[str, str]]:
    """Return storage and account of unfinished rows that cannot be processed here, each pair once.

    Each account costs a query or two, however many rows there are.
    """
    mine = {found.account_key: found for found in destinations()}
    others: set[tuple[str, str]] = set()
    for account_key in account_keys():
        rows = unfinished().filter(account=account_key)
        if account_key == LOCAL:
            rows = rows.exclude(storage__in=list(mine[LOCAL].storages))
        elif account_key in mine:
            continue
        others.update(rows.values_list("storage", "account")[:_MAX_OTHERS])
    return sorted(others)


def account_keys() -> Iterator[str]:
    """Yield the account of all rows, each once; the index is entered anew for each, not read as a whole."""
    keys = uploads().order_by("account").values_list("account", flat=True)
    key: str | None = LOCAL  # the first in any order
    while key is not None:
        yield key
        key = keys.filter(account__gt=key).first()


def report_unprocessable() -> None:
    """Log rows that stay pending since no storage here can process them, once per process and storage."""
    _adopt_rows(again=True)
    problems = _usable()[1]
    for alias, account_key in unprocessable():
        if alias not in conf.storage_declarations():
            report(alias, "it is not in STORAGES")
        else:
            other = f"their account is {account_key}, which is not that of STORAGES[{alias!r}] here"
            report(alias, problems.get(alias, other))


def report(alias: str, problem: str) -> None:
    """Log one line per alias, not one per image."""
    if alias not in _reported:
        _reported.add(alias)
        logger.error("Images are pending for the storage %r and cannot be processed here: %s", alias, problem)
