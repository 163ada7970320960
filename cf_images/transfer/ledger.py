"""The ledger of an import: a row for each file that rows of a field refer to.

It is filled in batches, and filling it again continues: what is copied stays, what was refused is tried
again, and what is new is added. Two commands may fill it at once.
"""

from __future__ import annotations

import posixpath
import random
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce
from operator import or_
from typing import Any, TypeVar

from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError
from django.db.models import Count, Q, QuerySet, Sum
from django.utils import timezone

from cf_images import conf
from cf_images.accounts import Account
from cf_images.background import places
from cf_images.background.copying import CopyOptions
from cf_images.background.destinations import LOCAL
from cf_images.background.pace import batch_key
from cf_images.background.rows import database
from cf_images.background.transfers import key_of, new_row, transfers
from cf_images.delivery import urls
from cf_images.exceptions import InvalidNameError
from cf_images.images import names
from cf_images.models import MAX_NAME_LENGTH, State, Transfer
from cf_images.transfer import fields
from cf_images.transfer.fields import Route
from cf_images.transfer.report import FileProblem, Problems

T = TypeVar("T")

# Of a row, what its files need to be counted, continued and measured.
_COLUMNS = (
    *("key", "source_name", "name", "state", "last_error", "account", "options", "is_enqueued"),
    *("size", "sha256", "width", "height", "lease", "next_attempt_at"),
)
_ATTEMPTS = 5  # of a write that another command hinders, or whose names it takes meanwhile
_FIRST = 100  # files with which copying begins
_PAUSE_SECONDS = 0.2
_LONG_PAUSE = timedelta(minutes=1)

FOREIGN_URL = "It is a URL of another site, not the name of a file: there is nothing to copy."
_SPACES = "The name has only spaces."
_NUL = "The name contains a character that no file name has."
_DELETED = "The image was deleted, and its name is never used again: save the file under another name."


@dataclass(slots=True, kw_only=True)
class Totals:
    """The files of an import by what has become of them, and the bytes of those that are copied."""

    stored: int = 0
    pending: int = 0
    rejected: int = 0
    size: int = 0


def rows_of(routes: Collection[Route]) -> QuerySet[Transfer]:
    """Return the rows of the ledger for these ways, those of other fields with the same places included.

    Not those of an account that the target had before: they cannot be processed here.
    """
    ways = dict.fromkeys((route.source, route.target) for route in routes)
    accounts = (places.account_of(route.target) or places.account_of(route.source) for route in routes)
    keys = {key for found in accounts for key in (account_keys_of(found) if found else (LOCAL,))}
    chosen = reduce(or_, (Q(source=source, storage=target) for source, target in ways))
    return transfers().filter(chosen, account__in=keys)


def totals(routes: Collection[Route]) -> Totals:
    """Return what has become of the files so far; one query."""
    found = Totals()
    counts = rows_of(routes).order_by().values("state").annotate(count=Count("pk"), size=Sum("size"))
    for state, count, size in counts.values_list("state", "count", "size"):
        if state == State.STORED:
            found.stored, found.size = count, size or 0
        elif state == State.REJECTED:
            found.rejected = count
        elif state == State.PENDING:
            found.pending = count
    return found


def fill(
    route: Route,
    options: Mapping[str, Any],
    *,
    is_enqueued: bool,
    is_batch: bool = False,
    stop: threading.Event | None = None,
    on_batch: Callable[[], object] = bool,
) -> None:
    """Give each file that rows of the field refer to a row that is due, unless it is copied.

    ``options`` are those of ``CopyOptions`` that a person has chosen; with ``is_batch``, the images go to
    Cloudflare's batch host. The number of queries grows with the batches, and ``on_batch`` is called after
    each. Whoever sets ``stop`` can fill the rest another time.
    """
    filling = _Filling(route, options, is_enqueued=is_enqueued, is_batch=is_batch)
    size = _FIRST
    for _, rows in fields.batches(route.field):
        found = [name for _, name in rows]
        while found:
            if stop is not None and stop.is_set():
                return
            filling.add(found[:size])
            on_batch()
            found, size = found[size:], fields.BATCH


def no_file(name: str) -> str | None:
    """Return why a name cannot be that of a file anywhere; ``None`` if it can."""
    if names.is_url(name):
        return FOREIGN_URL
    if "\0" in name:  # nor can PostgreSQL compare it
        return _NUL
    return None if name.strip() else _SPACES


def is_there(name: str, account: Account | None) -> bool:
    """Return whether a name is the delivery URL of an image of the account, as older recipes stored it."""
    if account is None or not names.is_url(name):
        return False
    found = urls.parse_url(name, conf.delivery_urls())
    return found is not None and account.owns(found)


@dataclass(slots=True, kw_only=True)
class Outcome:
    """The files of an import as the rows of fields have them."""

    stored: int = 0
    renamed: int = 0  # of these, files with another name in the target
    pending: int = 0
    newer: int = 0  # pending as well; they came meanwhile, by a mirror, and are for the workers


def outcome(
    routes: Iterable[Route], problems: Problems, *, is_stopped: bool = False, newest: int | None = None
) -> Outcome:
    """Read all rows again, and add to ``problems`` what was left behind; three queries a batch.

    That includes what has failed and is to be tried again, unless a person stopped before it was. Pending
    rows with a key above ``newest`` came after the ledger was filled.
    """
    found, seen = Outcome(), set[int]()
    for route in routes:
        for _, rows in fields.batches(route.field):
            for entry in entries(route, [name for _, name in rows]):
                # Rows may share a file, and fields, too; a number of 64 bits takes less than the key.
                if (number := hash(entry.key)) not in seen:
                    seen.add(number)
                    if is_newer(entry.row, newest):
                        found.newer += 1
                    else:
                        _count(found, entry, route, problems, is_stopped=is_stopped)
    return found


def is_newer(row: Transfer | None, newest: int | None) -> bool:
    """Return whether a file is pending and came after the row ``newest``: it is for the workers."""
    if row is None or newest is None:
        return False
    return row.pk > newest and row.is_enqueued and row.state == State.PENDING


def _count(found: Outcome, entry: Entry, route: Route, problems: Problems, *, is_stopped: bool) -> None:
    reason = entry.reason
    if reason is None:
        found.stored += 1
        found.renamed += entry.is_renamed
        return
    found.pending += entry.is_pending
    if reason and not (is_stopped and entry.is_pending):
        problems.add(FileProblem(field=route.label, name=entry.name, reason=reason))


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A name that a row has, and its row in the ledger."""

    name: str
    key: str
    row: Transfer | None
    is_there: bool = False  # without a row in the ledger
    is_elsewhere: bool = False  # in another account, as where a database is a copy of another site's

    @property
    def is_stored(self) -> bool:
        """Whether the file is in the target."""
        is_copied = self.row is not None and self.row.state == State.STORED
        return self.is_there or (is_copied and not self.is_elsewhere)

    @property
    def is_deleted(self) -> bool:
        """Whether the file was in the target, and has been deleted there."""
        return self.row is not None and self.row.state in (State.DELETING, State.DELETED)

    @property
    def is_renamed(self) -> bool:
        """Whether the file has another name in the target."""
        return self.row is not None and self.row.name != self.name

    @property
    def is_pending(self) -> bool:
        """Whether the file is yet to be copied, or its row came after the ledger was filled."""
        if self.row is None:
            return not self.is_there and no_file(self.name) is None
        return self.row.state == State.PENDING or self.is_elsewhere

    @property
    def reason(self) -> str | None:
        """Why the file is not in the target; ``None`` if it is, empty where it has not been tried."""
        if self.is_stored:
            return None
        if self.is_deleted:
            return _DELETED
        return no_file(self.name) or (self.row.last_error if self.row else "")


def entries(route: Route, found: Collection[str]) -> list[Entry]:
    """Return what the ledger has of names; two queries."""
    keys = {name: key_of(route.source, route.target, name) for name in dict.fromkeys(found)}
    account, known = route.account, {row.key: row for row in _known(keys.values())}
    switched = _switched(
        route, [name for name, key in keys.items() if key not in known and not no_file(name)]
    )
    account_keys = account_keys_of(account) if account else ()
    made = []
    for name, key in keys.items():
        row = known.get(key) or switched.get(name)
        is_moved = row is not None and row.state == State.STORED and row.account not in account_keys
        made.append(
            Entry(
                name=name,
                key=key,
                row=row,
                is_there=row is None and is_there(name, account),
                is_elsewhere=is_moved and account is not None,
            )
        )
    return made


def account_keys_of(account: Account) -> tuple[str, str]:
    """Return what the ledger calls the account: itself, and its batch host."""
    return account.key, batch_key(account.key)


def taken_names(route: Route, wanted: Collection[str]) -> set[str | None]:
    """Return which of the names belong to other files in the target."""
    rows = transfers().filter(storage=route.target, name__in=list(wanted))
    return set(rows.values_list("name", flat=True))


def _known(keys: Collection[str]) -> QuerySet[Transfer]:
    return transfers().filter(key__in=list(keys)).only(*_COLUMNS)


def _switched(route: Route, found: Collection[str]) -> dict[str, Transfer]:
    """Return the rows of files whose new name the rows of the field have by now."""
    rows = (
        transfers().filter(storage=route.target, name__in=list(found), source=route.source) if found else ()
    )
    return {str(row.name): row for row in rows if row.source_name != row.name}


class _Filling:
    """The ledger of one field while it is filled."""

    def __init__(
        self, route: Route, options: Mapping[str, Any], *, is_enqueued: bool, is_batch: bool
    ) -> None:
        account = route.account
        if account is None:
            raise ImproperlyConfigured(f"{route.target!r} is no storage of Cloudflare Images.")
        self._route = route
        self._account_key = account_keys_of(account)[is_batch]
        self._is_private = account.options.require_signed_urls
        self._max_length = min(route.field.max_length or MAX_NAME_LENGTH, MAX_NAME_LENGTH)
        self._options = CopyOptions(**{**options, "max_length": self._max_length}).as_json()
        self._is_enqueued = is_enqueued

    def add(self, found: Collection[str]) -> None:
        """Add or continue the rows of a batch."""
        known = entries(self._route, [name for name in found if no_file(name) is None])
        self._continue(known)
        self._insert([entry.name for entry in known if entry.row is None])

    def _continue(self, known: list[Entry]) -> None:
        """Make rows due that are to be tried again, and give those that are pending what was chosen now."""
        now = timezone.now()
        changes: dict[str, Any] = {"options": self._options, "account": self._account_key}
        if self._is_enqueued:
            changes["is_enqueued"] = True
        rows = [entry.row for entry in known if entry.row is not None]
        pending = [row for row in rows if row.state == State.PENDING and self._differs(row)]
        self._update(pending, State.PENDING, changes)
        # The next attempt is a second one, after which pauses are short again: an upload that Cloudflare has
        # not confirmed may have arrived.
        again = {"next_attempt_at": now, "unknown_errors": 0, "attempts": 1}
        self._update([row for row in rows if waits_for_long(row, now)], State.PENDING, again, lease="")
        changes |= {**again, "state": State.PENDING, "is_enqueued": self._is_enqueued}
        self._update([row for row in rows if row.state == State.REJECTED], State.REJECTED, changes)
        elsewhere = [entry.row for entry in known if entry.row is not None and entry.is_elsewhere]
        changes["attempts"] = 0  # nothing was sent to this account
        if self._is_private:
            changes |= {"name": None, "remote_id": ""}
        self._update(elsewhere, State.STORED, changes)

    def _differs(self, row: Transfer) -> bool:
        is_moved = row.account != self._account_key or (self._is_enqueued and not row.is_enqueued)
        return is_moved or row.options != self._options

    def _update(
        self, rows: list[Transfer], state: State, changes: Mapping[str, Any], **conditions: Any
    ) -> None:
        if pks := [row.pk for row in rows]:
            chosen = transfers().filter(pk__in=pks, state=state, **conditions)
            retried(lambda: chosen.update(**changes))

    def _insert(self, missing: list[str]) -> None:
        """Insert rows. Those that another command inserts meanwhile are ignored, and so are the names that it
        takes, for which others are chosen.
        """
        for _ in range(_ATTEMPTS):
            if not missing:
                return
            taken = set() if self._is_private else taken_names(self._route, missing)
            # In one order, so that two commands do not wait for each other.
            rows = sorted((self._row(name, taken) for name in missing), key=lambda row: row.key)
            retried(lambda rows=rows: _insert(rows))  # type: ignore[misc]  # a default of a lambda
            there = set(_known([row.key for row in rows]).values_list("key", flat=True))
            missing = [row.source_name for row in rows if row.key not in there]

    def _row(self, name: str, taken: Collection[str | None]) -> Transfer:
        row = new_row(
            source=self._route.source,
            target=self._route.target,
            source_name=name,
            name=None if self._is_private else self._name(name, taken),
            field=self._route.label,
            options=self._options,
            is_enqueued=self._is_enqueued,
        )
        row.account = self._account_key
        return row

    def _name(self, name: str, taken: Collection[str | None]) -> str:
        if name not in taken and not names.id_problem(name, max_length=MAX_NAME_LENGTH):
            return name
        return new_name(name, max_length=self._max_length)


def waits_for_long(row: Transfer, now: datetime) -> bool:
    """Return whether the row has failed so often that a command would end before the next attempt."""
    next_at = row.next_attempt_at
    is_pending = row.state == State.PENDING and not row.lease
    return is_pending and next_at is not None and next_at > now + _LONG_PAUSE


def new_name(name: str, *, max_length: int) -> str:
    """Return a new name for a file whose own cannot be kept: without its folder where that is too long."""
    now, short = int(time.time()), posixpath.basename(name)
    for like, allowed in ((name, max_length), (short, max_length)):
        try:
            return names.unique_name(like, seconds=now, max_length=allowed)
        except InvalidNameError:
            continue
    return names.unique_name(short, seconds=now, max_length=MAX_NAME_LENGTH)


def _insert(rows: list[Transfer]) -> None:
    Transfer.objects.using(database()).bulk_create(rows, ignore_conflicts=True)


def retried(write: Callable[[], T]) -> T:
    """Write again where another command has locked the table or caused a deadlock."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return write()
        except OperationalError:
            time.sleep(random.uniform(0, 2 * _PAUSE_SECONDS))  # noqa: S311  # so that two do not meet again
    return write()
