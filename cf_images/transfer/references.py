"""Every use of an image in a project's databases: the tables that may have one, and what their columns say.

All models count, whatever their managers show: history, revisions, unmanaged and inherited ones, in every
database, and in every schema of a project with tenants. What cannot be read is an error, since a failed read
would look like an image without use.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db import Error, connections, router
from django.db.models import Field, FileField, Model, QuerySet, TextField
from django.db.models.expressions import Combinable, F
from django.db.models.functions import Cast
from django.utils import timezone

from cf_images.models import Reservation, State, Transfer, Upload

_TEXT_TYPES = ("char", "text", "clob", "json", "hstore", "uuid", "enum", "xml", "[]", "set(")
_FIRST_BATCH, _MAX_BATCH = 16, 2_000  # rows
_BATCH_CHARACTERS = 500_000  # of the texts of a batch, about
_OWN_APP = Upload._meta.app_label
_OWN_COLUMNS: dict[type[Model], tuple[str, ...]] = {
    Upload: ("name", "remote_id"),
    Transfer: ("name", "remote_id", "source_name"),
    Reservation: ("remote_id",),
}
# What their images may be deleted for.
_ENDED = (State.DELETED, State.REJECTED)


class UnreadableTableError(ImproperlyConfigured):
    """A table that may refer to images and cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """What one column of one row says."""

    field: Field[Any, Any]
    pk: Any
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The columns of a model that may refer to images, in one database."""

    model: type[Model]
    fields: tuple[Field[Any, Any], ...]
    database: str
    schema: str | None = None  # of a tenant

    def __str__(self) -> str:
        place = f"{self.database}, schema {self.schema}" if self.schema else self.database
        return f"{self.model._meta.label} (database {place})"

    def values(self) -> Iterator[Value]:
        """Yield all values that are not empty; raise ``UnreadableTableError``."""
        columns = [
            (field, expression)
            for field in self.fields
            for expression in _expressions(field, is_own=field.model._meta.app_label == _OWN_APP)
        ]
        try:
            for row in self._rows([expression for _, expression in columns]):
                for (field, _), value in zip(columns, row[1:], strict=True):
                    if text := _text(field, value):
                        yield Value(field=field, pk=row[0], text=text)
        except UnreadableTableError:
            raise
        except Exception as error:  # a converter of the project's own fields may raise anything
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UnreadableTableError(f"{self} cannot be read: {reason}") from error

    def _rows(self, expressions: list[Combinable]) -> Iterator[tuple[Any, ...]]:
        found = self._queryset().values_list("pk", *expressions)
        if not self.model._meta.managed:
            # The primary key of a view may be none: rows with the same one must not get lost between batches.
            with _in_schema(self.database, self.schema):
                yield from found.iterator(chunk_size=_FIRST_BATCH)
            return
        # In batches by primary key: MySQL's driver would fetch all rows of one query at once.
        size, last = _FIRST_BATCH, None
        while True:
            following = found.order_by("pk") if last is None else found.order_by("pk").filter(pk__gt=last)
            with _in_schema(self.database, self.schema):
                batch = list(following[:size])
            yield from batch
            if len(batch) < size:
                return
            last = batch[-1][0]
            characters = sum(len(value) for row in batch for value in row if isinstance(value, str))
            size = max(1, min(_MAX_BATCH, size * 4, size * _BATCH_CHARACTERS // max(1, characters)))

    def _queryset(self) -> QuerySet[Model]:
        # Not a manager of the model's: it may hide rows.
        found: QuerySet[Model] = QuerySet(self.model, using=self.database).order_by()
        if self.model is Upload:
            return found.exclude(state=State.STORED)
        if self.model is Transfer:
            # Rows of a project may have the old name until `switch`.
            return found.exclude(state__in=_ENDED).exclude(state=State.STORED, name=F("source_name"))
        if self.model is Reservation:
            # Open: a form may still save it. A saved one counts by the row that has its name.
            return found.filter(state=State.PENDING, expires_at__gt=timezone.now())
        return found


def tables(*, with_texts: bool) -> Iterator[Table]:
    """Yield each table that may refer to images; raise ``UnreadableTableError`` for one that is missing.

    ``with_texts``: also those that have only texts or JSON. Without, texts count that hold the history of
    files.
    """
    models = [(model, _fields(model, with_texts=with_texts)) for model in _models()]
    models = [(model, fields) for model, fields in models if fields]
    missing = {(model, alias) for model, _ in models for alias in _homes(model)}
    anywhere: set[type[Model]] = set()
    for alias in connections:
        for schema, existing in _existing(alias):
            for model, fields in models:
                if _has_table(model, alias, existing):
                    missing.discard((model, alias))
                    anywhere.add(model)
                    yield Table(model=model, fields=tuple(fields), database=alias, schema=schema)
    for model, alias in sorted(missing, key=str):
        if model._meta.managed or model not in anywhere:  # an unmanaged one may be in another database alone
            raise UnreadableTableError(
                f"{model._meta.label} cannot be read: the database {alias} has no table "
                f"{model._meta.db_table}. Run migrate, or remove the model."
            )


def _models() -> Iterator[type[Model]]:
    for model in apps.get_models(include_auto_created=True):
        options = model._meta
        if not (options.proxy or options.swapped) and (
            options.app_label != _OWN_APP or model in _OWN_COLUMNS
        ):
            yield model


def _fields(model: type[Model], *, with_texts: bool) -> list[Field[Any, Any]]:
    columns = _columns(model)
    if own := _OWN_COLUMNS.get(model):
        return [field for field in columns if field.name in own]
    wanted = _is_any if with_texts else partial(_is_history, file_names=_file_names())
    return [
        field
        for field in columns
        if isinstance(field, FileField) or (not field.is_relation and wanted(field) and _is_text(field))
    ]


def _is_any(_: Field[Any, Any]) -> bool:
    return True


def _is_history(field: Field[Any, Any], *, file_names: Collection[str]) -> bool:
    """Return whether a text holds earlier values of files: django-simple-history turns file fields into
    texts of the same name, and django-reversion serializes rows.
    """
    is_version = field.model._meta.label == "reversion.Version"
    return is_version or field.name in file_names


def _file_names() -> set[str]:
    return {field.name for model in _models() for field in _columns(model) if isinstance(field, FileField)}


def _columns(model: type[Model]) -> list[Field[Any, Any]]:
    return [field for field in model._meta.local_concrete_fields if field.column]


def _is_text(field: Field[Any, Any]) -> bool:
    """Return whether the column holds text or JSON in any database: known by its type there."""
    types = (str(field.db_type(connection) or "").lower() for connection in connections.all())
    return any(part in found for found in types for part in _TEXT_TYPES)


def _homes(model: type[Model]) -> set[str]:
    """Return the databases that must have the model's table."""
    return {router.db_for_read(model), router.db_for_write(model)}


def _existing(alias: str) -> Iterator[tuple[str | None, set[str]]]:
    """Yield the tables of a database, for each schema of tenants its own."""
    connection: Any = connections[alias]
    try:
        with connection.cursor() as cursor:
            if not hasattr(connection, "set_schema"):  # django-tenants has it
                yield None, set(connection.introspection.table_names(cursor, include_views=True))
                return
            cursor.execute("SELECT table_schema, table_name FROM information_schema.tables")
            found = cursor.fetchall()
    except Error as error:
        raise UnreadableTableError(f"The database {alias} cannot be read: {error}".strip()) from error
    system = ("information_schema", "pg_catalog", "pg_toast")
    for schema in sorted({schema for schema, _ in found} - set(system)):
        yield schema, {table for owner, table in found if owner == schema}


def _has_table(model: type[Model], alias: str, existing: Collection[str]) -> bool:
    table = model._meta.db_table
    if '"' in table or "." in table:  # of another schema, which is not listed
        return alias in _homes(model)
    converted = connections[alias].introspection.identifier_converter(table)
    # MariaDB and MySQL may keep all names in lower case.
    return converted in existing or (connections[alias].vendor == "mysql" and table.lower() in existing)


@contextmanager
def _in_schema(alias: str, schema: str | None) -> Iterator[None]:
    """Read the tables of a tenant."""
    if schema is None:
        yield
        return
    connection: Any = connections[alias]
    before = connection.schema_name
    connection.set_schema(schema)
    try:
        yield
    finally:
        connection.set_schema(before)


def _expressions(field: Field[Any, Any], *, is_own: bool) -> list[Combinable]:
    """Return how a column is read: as it is, as the database writes it, or both.

    Databases write JSON, arrays and their like as text; a field of another package may have an own form in
    Python, such as encrypted texts, or blocks of rich text.
    """
    as_is, as_text = F(field.name), Cast(field.name, TextField())
    if is_own or isinstance(field, FileField):
        return [as_is]
    defined_by = getattr(getattr(type(field), "from_db_value", None), "__module__", "django.")
    if not str(defined_by).startswith("django."):
        return [as_is, as_text]
    is_string = field.get_internal_type() in _STRINGS
    return [as_is if is_string else as_text]


# UUIDs are columns without hyphens in some databases.
_STRINGS = frozenset(
    {"CharField", "TextField", "SlugField", "EmailField", "URLField", "FilePathField", "UUIDField"}
)


def _text(field: Field[Any, Any], value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    return str(field.get_prep_value(value) if hasattr(field, "from_db_value") else value)
