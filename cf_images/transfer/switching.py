"""Change the names in rows to those of the other storage, and back, as the ledger has them.

Each change is a compare-and-set on the value that was read: a row that a visitor changes meanwhile keeps what
the visitor gave it. Only this column changes: no signals, no ``auto_now``.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import IntegrityError, connections, transaction
from django.db.models import Case, F, FileField, Q, QuerySet, Value, When

from cf_images.background import places
from cf_images.images import names
from cf_images.models import State, Transfer
from cf_images.transfer import fields
from cf_images.transfer.fields import Route, Row
from cf_images.transfer.ledger import account_keys_of
from cf_images.transfer.lookup import Ledger
from cf_images.transfer.report import FileProblem, Problems

_EXAMPLES = 10
_ROWS = 200  # changed by one UPDATE, which has up to six parameters for each


@dataclass(slots=True, kw_only=True)
class Switched:
    """What was done with the rows that have an image."""

    changed: int = 0  # with a dry run: would be
    done: int = 0  # have the right name, which is another one than in the other storage
    kept: int = 0  # have a name that is the same in both
    refused: int = 0
    unknown: int = 0  # have a name that is not in the ledger
    examples: list[tuple[str, str]] = field(default_factory=list)  # the first changes: old and new names

    def add(self, other: Switched) -> None:
        """Add what was done with another field."""
        for count in ("changed", "done", "kept", "refused", "unknown"):
            setattr(self, count, getattr(self, count) + getattr(other, count))
        self.examples = [*self.examples, *other.examples][:_EXAMPLES]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    pk: Any
    old: str
    new: str


def switch(
    route: Route, problems: Problems, *, dry_run: bool = False, stop: threading.Event | None = None
) -> Switched:
    """Give the rows of a field the names that their files have in the target.

    Whoever sets ``stop`` can change the rest another time.
    """
    return _Switching(route, problems, is_back=False).run(stop or threading.Event(), dry_run=dry_run)


def revert(
    route: Route, problems: Problems, *, dry_run: bool = False, stop: threading.Event | None = None
) -> Switched:
    """Give the rows of a field the names that their files have in the source: the exact inverse."""
    return _Switching(route, problems, is_back=True).run(stop or threading.Event(), dry_run=dry_run)


class _Switching:
    """The rows of one field while they are changed."""

    def __init__(self, route: Route, problems: Problems, *, is_back: bool) -> None:
        self._route = route
        self._field = route.field
        self._ledger = Ledger(route.field, target=route.target, source=route.source)
        self._accounts = _accounts_of(route.target)
        self._is_back = is_back
        self._problems = problems
        self._done = Switched()

    def run(self, stop: threading.Event, *, dry_run: bool) -> Switched:
        for alias, rows in fields.batches(self._field):
            changes = list(self._changes(rows))
            for start in range(0, len(changes), _ROWS):
                if stop.is_set():
                    return self._done
                some = changes[start : start + _ROWS]
                self._done.changed += len(some) if dry_run else self._apply(alias, some)
        return self._done

    def _changes(self, rows: Sequence[Row]) -> Iterator[_Change]:
        done, transfers = self._done, self._transfers({value for _, value in rows})
        for pk, value in rows:
            transfer = transfers.get(value)
            if transfer is None:
                done.unknown += not names.is_url(value)  # of an older recipe: it is shown on both sides
                continue
            new = transfer.source_name if self._is_back else transfer.name
            if new == value:
                done.kept += transfer.source_name == transfer.name
                done.done += transfer.source_name != transfer.name
            elif problem := self._problem(transfer, new):
                self._refuse(value, problem)
            elif new is not None:
                if len(done.examples) < _EXAMPLES:
                    done.examples.append((value, new))
                yield _Change(pk=pk, old=value, new=new)

    def _transfers(self, values: set[str]) -> dict[str, Transfer]:
        """Return the transfers of names; for the way back, those that have them in the target come first."""
        if not self._is_back:
            return self._ledger.find(values)
        by_name = self._ledger.by_name(values)
        return {**self._ledger.by_source_name(values - by_name.keys()), **by_name}

    def _problem(self, transfer: Transfer, new: str | None) -> str:
        """Return why a row cannot get its new name."""
        if not self._is_back:
            if transfer.state != State.STORED or new is None:
                reason = f": {transfer.last_error}" if transfer.last_error else ""
                return f"The file is not in {transfer.storage}, its copy is {transfer.state}{reason}"
            if self._accounts and transfer.account not in self._accounts:
                return f"The file is in another account than STORAGES[{transfer.storage!r}] has now."
        length = self._field.max_length
        if length is not None and len(new or "") > length:
            return (
                f"The new name has {len(new or ''):,} characters, and the field takes {length:,}: raise its "
                f"max_length. The name is {new}"
            )
        return ""

    def _refuse(self, name: str, reason: str) -> None:
        self._done.refused += 1
        self._problems.add(FileProblem(field=self._route.label, name=name, reason=reason))

    def _apply(self, alias: str, changes: Sequence[_Change]) -> int:
        """Change the rows that still have the old names; return their number."""
        rows = fields.queryset(self._field, alias)
        try:
            with transaction.atomic(using=alias):
                return _update(rows, self._field, changes)
        except IntegrityError as error:
            if len(changes) == 1:
                reason = " ".join(str(error).split())
                self._refuse(changes[0].old, f"The new name {changes[0].new} is refused: {reason}")
                return 0
        return sum(self._apply(alias, [change]) for change in changes)


def _accounts_of(place: str) -> tuple[str, ...]:
    """Return what the ledger calls the account of a place; nothing where that is not known."""
    account = places.account_of(place)
    return account_keys_of(account) if account is not None and account.options.account_id else ()


def _update(rows: QuerySet[Any], field: FileField, changes: Sequence[_Change]) -> int:
    column = field.attname
    if connections[rows.db].vendor == "mysql":
        changes = _unchanged(rows, column, changes)
    # The primary key tells rows apart whose names are equal to the collation of the database.
    cases = [When(pk=change.pk, then=Value(change.new, output_field=field)) for change in changes]
    unchanged = Q()
    for change in changes:
        unchanged |= Q(**{"pk": change.pk, column: change.old})
    if not cases:
        return 0
    return rows.filter(unchanged).update(**{column: Case(*cases, default=F(column), output_field=field)})


def _unchanged(rows: QuerySet[Any], column: str, changes: Sequence[_Change]) -> list[_Change]:
    """Return the changes of rows that have exactly the old names, and lock these: to the collation, a name
    that a visitor gives meanwhile may be equal.
    """
    locked = rows.filter(pk__in=[change.pk for change in changes]).order_by("pk").select_for_update()
    names = dict(locked.values_list("pk", column))
    return [change for change in changes if names.get(change.pk) == change.old]
