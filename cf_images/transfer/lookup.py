"""Find the rows of the ledger for the names that a project's rows have.

A name is either one of the source, or, after a switch, one of the target; for most files the two are equal.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from django.db.models import FileField

from cf_images.background.transfers import key_of, transfers
from cf_images.models import State, Transfer
from cf_images.transfer import fields

_MAX_PARAMETERS = 800  # of a query: SQLite before 3.32 takes 999


class Ledger:
    """The transfers of a field's files to ``target``, a place; ``source`` is the place of names that several
    sources have.

    A file of another field, in a storage of its own, is another one, though it has the same name.
    """

    def __init__(self, field: FileField, *, target: str, source: str) -> None:
        self.target = target
        others = fields.in_other_places(field)
        rows = transfers().filter(storage=target).exclude(field__in=list(others))
        # Rows of mirrors have no field.
        rows = rows.exclude(field="", source__in=set(others.values()))
        found = rows.order_by().values_list("source", flat=True).distinct()
        self._sources = [source, *sorted(set(found) - {source})]
        self._source = source

    def find(self, names: Iterable[str]) -> dict[str, Transfer]:
        """Return the transfer of each name: of the own source, then by the name in the target, then of
        another source; one that is not stored only where there is no other.
        """
        wanted = set(names)
        by_source, by_name = self.by_source_name(wanted), self.by_name(wanted)
        found = {}
        for name in wanted:
            own, named = by_source.get(name), by_name.get(name)
            if own is None or (named is not None and self._is_better(named, own)):
                own = named
            if own is not None:
                found[name] = own
        return found

    def _is_better(self, named: Transfer, own: Transfer) -> bool:
        is_stored = named.state == State.STORED
        if is_stored != (own.state == State.STORED):
            return is_stored
        return own.source != self._source

    def by_source_name(self, names: Collection[str]) -> dict[str, Transfer]:
        """Return the transfers that have these names in their source: those that are stored first, then those
        of the own source.
        """
        keys = {
            key_of(source, self.target, name): (rank, name)
            for rank, source in enumerate(self._sources)
            for name in names
        }
        found: dict[str, tuple[tuple[bool, int], Transfer]] = {}
        for some in _portions(list(keys)):
            for transfer in transfers().filter(key__in=some):
                position, name = keys[transfer.key]
                rank = (transfer.state != State.STORED, position)
                if name not in found or rank < found[name][0]:
                    found[name] = rank, transfer
        return {name: transfer for name, (_, transfer) in found.items()}

    def by_name(self, names: Collection[str]) -> dict[str, Transfer]:
        """Return the transfers that have these names in the target."""
        possible = [name for name in names if "\0" not in name]  # PostgreSQL refuses to search for a NUL
        found: dict[str, Transfer] = {}
        for some in _portions(possible):
            rows = transfers().filter(storage=self.target, source__in=self._sources)
            for transfer in rows.filter(name__in=some):
                found[transfer.name or ""] = transfer
        return found


def _portions(values: list[str]) -> Iterable[list[str]]:
    return (values[start : start + _MAX_PARAMETERS] for start in range(0, len(values), _MAX_PARAMETERS))
