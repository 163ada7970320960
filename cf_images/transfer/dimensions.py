"""Fill the empty width and height columns of image fields with what the ledger knows of the images."""

from __future__ import annotations

from typing import Any, cast

from django.db.models import Case, F, Field, FileField, Q, QuerySet, Value, When

from cf_images.models import Transfer
from cf_images.transfer import fields, ledger
from cf_images.transfer.fields import Route, Row

_ROWS = 200  # of one UPDATE

Sized = tuple[Any, str, Transfer]  # primary key, name, and the row of the ledger with its pixels


def fill(route: Route) -> int:
    """Fill the columns that are empty, by ``UPDATE`` without signals; return the number of rows.

    Pixels are those of the file at Cloudflare, before any orientation, as Django's. A row whose image is
    replaced meanwhile stays as it is.
    """
    columns = _columns(route.field)
    if not columns:
        return 0
    return sum(
        _fill_some(route, columns, alias, rows[start : start + _ROWS])
        for alias, rows in fields.batches(route.field)
        for start in range(0, len(rows), _ROWS)
    )


def _columns(field: FileField) -> dict[str, str]:
    """Return the columns of the rows by those of the ledger."""
    named = {what: getattr(field, f"{what}_field", None) for what in ("width", "height")}
    return {what: column for what, column in named.items() if column}


def _fill_some(route: Route, columns: dict[str, str], alias: str, rows: list[Row]) -> int:
    is_empty = Q()
    for column in columns.values():
        is_empty |= _is_empty(column)
    empty = fields.queryset(route.field, alias).filter(is_empty)
    pks = set(empty.filter(pk__in=[pk for pk, _ in rows]).values_list("pk", flat=True))
    chosen = [(pk, name) for pk, name in rows if pk in pks]
    known = {entry.name: entry.row for entry in ledger.entries(route, [name for _, name in chosen])}
    sized = [(pk, name, row) for pk, name in chosen if (row := known[name]) and row.width and row.height]
    if not sized:
        return 0
    is_inherited = any(
        _column(route.field, column).model is not route.field.model for column in columns.values()
    )
    return (_update_each if is_inherited else _update)(empty, route.field, columns, sized)


def _is_empty(column: str) -> Q:
    return Q(**{column: None}) | Q(**{column: 0})


def _column(field: FileField, name: str) -> Field[Any, Any]:
    return cast("Field[Any, Any]", field.model._meta.get_field(name))


def _update_each(empty: QuerySet[Any], field: FileField, columns: dict[str, str], sized: list[Sized]) -> int:
    """Fill columns of another table: that of a parent."""
    filled = set()
    for pk, name, row in sized:
        for what, column in columns.items():
            chosen = empty.filter(_is_empty(column), **{"pk": pk, field.attname: name})
            if chosen.update(**{column: getattr(row, what)}):
                filled.add(pk)
    return len(filled)


def _update(empty: QuerySet[Any], field: FileField, columns: dict[str, str], sized: list[Sized]) -> int:
    """Fill columns of the same table in one query."""
    values = {
        column: Case(
            *(
                When(_is_empty(column), **{"pk": pk, field.attname: name}, then=Value(getattr(row, what)))
                for pk, name, row in sized
            ),
            default=F(column),
            output_field=_column(field, column),
        )
        for what, column in columns.items()
    }
    return empty.filter(pk__in=[pk for pk, _, _ in sized]).update(**values)
