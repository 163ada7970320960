"""The fields whose files are copied: which they are, from where to where, and what their rows hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist, ImproperlyConfigured
from django.db import connections, router
from django.db.models import FileField, ImageField, Model, QuerySet
from django.db.models.base import ModelState

from cf_images import conf, image_fields
from cf_images.accounts import (
    Account,
    AccountStorage,
    Mirror,
    cloudflare_alias,
    find_account,
    is_mirror,
    sides_of,
)
from cf_images.background import places
from cf_images.models import Transfer

BATCH = 1000  # rows that are read at once

Row = tuple[Any, str]  # the primary key and the name


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A field and two places: where its files are, and where they are to be."""

    field: FileField
    source: str
    target: str

    @property
    def label(self) -> str:
        """The field as ``app.Model.field``."""
        return str(self.field)

    @property
    def account(self) -> Account | None:
        """The account of the target, ``None`` where that is not at Cloudflare."""
        return places.account_of(self.target)


def named(labels: Iterable[str]) -> list[FileField]:
    """Return the fields of these labels, each column once; ``ImproperlyConfigured`` for what is none.

    A field that a model inherits is that of the model that has the column.
    """
    return list(dict.fromkeys(map(_field, labels)))


def on_cloudflare() -> list[FileField]:
    """Return every image field whose storage is, or would be in production, Cloudflare Images."""
    return [field for field in image_fields.file_fields() if _is_on_cloudflare(field)]


def chosen(labels: Iterable[str]) -> list[FileField]:
    """Return the fields of these labels, or without any those on Cloudflare Images."""
    found = named(labels) or on_cloudflare()
    if not found:
        raise ImproperlyConfigured(
            "No ImageField has select_storage or a storage at Cloudflare Images: name the fields, such as "
            "app.Model.field."
        )
    return found


def to_cloudflare(field: FileField, *, source: str | None = None, target: str | None = None) -> Route:
    """Return the way of a field's files to Cloudflare; ``ImproperlyConfigured`` where there is none.

    ``source`` is by default the field's storage now; where that is Cloudflare already,
    ``CF_IMAGES["LOCAL_ALIAS"]``.
    """
    source, target = source or _files_place(field), target or _cloudflare_alias(field)
    _check_place(source)
    if is_mirror(target):
        _check_place(target)
    if find_account(target) is None:
        aliases = ", ".join(map(repr, filter(find_account, conf.storage_declarations()))) or "none"
        raise ImproperlyConfigured(
            f"{target!r} is no storage of Cloudflare Images in STORAGES; there are {aliases}."
        )
    if source == target:
        raise ImproperlyConfigured(f"{field}: the files are in {source!r} already; name where they are now.")
    return Route(field=field, source=source, target=target)


def to_place(field: FileField, place: str | None = None) -> Route:
    """Return the way of a field's files to a place, by default to Cloudflare; elsewhere they come from there.

    ``ImproperlyConfigured`` for what is no place.
    """
    cloudflare = _cloudflare_alias(field)
    _check_place(cloudflare)
    if place is None or place == cloudflare:
        return Route(field=field, source=_files_place(field), target=cloudflare)
    _check_place(place)
    return Route(field=field, source=cloudflare, target=place)


def in_other_places(field: FileField) -> dict[str, str]:
    """Return the labels of the fields whose files are not where those of ``field`` are, with their places."""
    own, places_of = (
        _files_place(field),
        {str(other): _files_place(other) for other in image_fields.file_fields()},
    )
    return {label: place for label, place in places_of.items() if place != own}


def is_mirrored(field: FileField) -> bool:
    """Return whether the field has a mirror, here or in production."""
    return bool(_mirror_of(field))


def databases(field: FileField) -> list[str]:
    """Return the aliases in ``DATABASES`` that rows of the field are written to: no replicas.

    Several, where a router spreads the rows of a model.
    """
    main = str(router.db_for_write(field.model))
    others = [alias for alias in connections if alias != main and _is_written_to(alias, field.model)]
    return [main, *others]


def batches(field: FileField, *, size: int = BATCH) -> Iterator[tuple[str, list[Row]]]:
    """Yield the rows of the field that have a name, with the alias of their database; a query each.

    By primary key, without instances: no signals are sent, and rows may change meanwhile.
    """
    for alias in databases(field):
        rows = _rows(field, alias)
        found = list(rows[:size])
        while found:
            if named_rows := [(pk, str(name)) for pk, name in found if name]:
                yield alias, named_rows
            found = list(rows.filter(pk__gt=found[-1][0])[:size])


def queryset(field: FileField, alias: str) -> QuerySet[Any]:
    """Return all rows of the field's model in a database, whatever managers the model has."""
    return QuerySet(field.model, using=alias)  # Meta.base_manager_name may hide rows


def _rows(field: FileField, alias: str) -> QuerySet[Any, tuple[Any, Any]]:
    # Empty names are left out in Python: to MariaDB, a name of spaces is empty, too.
    existing = queryset(field, alias).filter(**{f"{field.attname}__isnull": False})
    return existing.order_by("pk").values_list("pk", field.attname)


def _field(label: str) -> FileField:
    model_label, _, name = label.rpartition(".")
    try:
        model = apps.get_model(model_label)
        field = model._meta.get_field(name)
    except (LookupError, ValueError, FieldDoesNotExist):
        field = None
    if not isinstance(field, FileField):
        known = ", ".join(str(known) for known in image_fields.file_fields()) or "none"
        raise ImproperlyConfigured(f"{label!r} is no file field, such as app.Model.field; there are {known}.")
    if swapped := field.model._meta.swapped:
        raise ImproperlyConfigured(f"{label!r} has no table: {swapped} takes the place of the model.")
    return field


def _is_on_cloudflare(field: FileField) -> bool:
    if not isinstance(field, ImageField):
        return False
    if image_fields.selects_storage(field) or isinstance(field.storage, AccountStorage):
        return True
    return isinstance(field.storage, Mirror) and any(map(find_account, _sides(field.storage)))


def _files_place(field: FileField) -> str:
    if files := [side for side in _mirror_of(field) if find_account(side) is None]:
        return files[0]
    if image_fields.selects_storage(field) or isinstance(field.storage, AccountStorage):
        return str(conf.setting("LOCAL_ALIAS"))
    return places.place_of_field(field)


def _cloudflare_alias(field: FileField) -> str:
    storage = field.storage
    if images := [side for side in _mirror_of(field) if find_account(side)]:
        return images[-1]  # that of two to which the primary is copied
    if image_fields.selects_storage(field) or not isinstance(storage, AccountStorage):
        return cloudflare_alias()
    if storage.alias is None:
        raise ImproperlyConfigured(
            f"The storage of {field} is not in STORAGES, so that a worker could not find it: give it an "
            f"alias there, or name one."
        )
    return storage.alias


def _mirror_of(field: FileField) -> tuple[str, ...]:
    """Return the sides of the mirror that the field has, here or in production; none for another storage."""
    if isinstance(field.storage, Mirror):
        return _sides(field.storage)
    aliases = [str(conf.setting(name)) for name in ("CLOUDFLARE_ALIAS", "LOCAL_ALIAS")]
    mirrors = filter(is_mirror, aliases if image_fields.selects_storage(field) else ())
    return next(map(sides_of, mirrors), ())


def _sides(mirror: Mirror) -> tuple[str, ...]:
    return mirror.primary_alias, mirror.secondary_alias


def _check_place(place: str) -> None:
    places.storage_of(place)
    if len(place) > (limit := Transfer._meta.get_field("source").max_length or 0):
        raise ImproperlyConfigured(
            f"The path has {len(place):,} characters; the limit is {limit}: {place!r}."
        )


def _is_written_to(alias: str, model: type[Model]) -> bool:
    """Return whether rows of this database are saved in it, and it has the model's table."""
    # Model.from_db() would send the project's signals. Django documents _state.db, which routers read.
    row, state = model.__new__(model), ModelState()
    state.db = alias
    row._state = state  # noqa: SLF001  # see above
    try:
        is_own = router.db_for_write(model, instance=row) == alias
    except Exception:  # noqa: BLE001  # a router that asks the row for more
        return False
    if not is_own or not router.allow_migrate_model(alias, model):
        return False
    connection = connections[alias]
    return model._meta.db_table in connection.introspection.table_names()
