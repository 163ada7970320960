"""The image fields of a project's models: their defaults, and loading rows whose image is missing."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any

from django.apps import apps
from django.contrib.staticfiles import finders
from django.core.exceptions import SuspiciousFileOperation, SynchronousOnlyOperation
from django.db.models import Field, FileField, ImageField, Model, signals
from django.db.models.fields import NOT_PROVIDED

from cf_images import conf, images
from cf_images.exceptions import CloudflareImagesError, ImageRejectedError
from cf_images.images import names
from cf_images.storage import ImageStorage, select_storage

logger = logging.getLogger(__name__)

_MAX_REPORTED = 1000  # names in the log of one process

Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Default:
    """The image of rows without one of their own: ``name`` is one of the field's storage."""

    field: FileField
    name: str


def file_fields() -> Iterator[FileField]:
    """Yield the file fields of all models."""
    for model in apps.get_models(include_auto_created=True):
        declared: list[Any] = list(model._meta.local_fields)
        yield from (field for field in declared if isinstance(field, FileField))


def selects_storage(field: Field[Any, Any]) -> bool:
    """Return whether ``select_storage`` chooses the field's storage."""
    return getattr(field, "_storage_callable", None) is select_storage  # Django keeps what it was given


def is_ours(field: FileField) -> bool:
    """Return whether the field is on a storage of this package, here or in production."""
    return selects_storage(field) or isinstance(field.storage, ImageStorage)


def defaults(*, call: bool = False) -> Iterator[Default]:
    """Yield the defaults of fields on storages of this package, each constant; with ``call`` others, too.

    Not those whose image must be at Cloudflare already: URLs, and private images, whose IDs it has chosen.
    """
    for field in file_fields():
        if not is_ours(field):
            continue
        for value in dict.fromkeys(_values(field, call=call)):
            if not (names.is_url(value) or names.is_private(value)):
                yield Default(field, value)


def find_static(name: str) -> Path | None:
    """Return the path of a static file of the project; ``None`` if there is none of this name."""
    try:
        found = finders.find(name)
    except SuspiciousFileOperation:
        return None
    return Path(found) if isinstance(found, str) else None


def keep_all_loadable() -> None:
    """Let rows of every model load whose image is missing, also of models in migrations."""
    for model in apps.get_models(include_auto_created=True):
        _keep_loadable(model)
    signals.class_prepared.connect(_keep_prepared_loadable)


def _keep_prepared_loadable(sender: type[Model], **_: Any) -> None:
    _keep_loadable(sender)


def _keep_loadable(model: type[Model]) -> None:
    """Replace what Django does for a row whose ``width_field`` is empty: open the image, or fail.

    An image field of this package could do the same, but would stand in every migration.
    """
    for field in model._meta.local_fields:
        has_columns = getattr(field, "width_field", None) or getattr(field, "height_field", None)
        if has_columns and isinstance(field, ImageField) and is_ours(field):
            _Dimensions.attach(field, model)


class _Dimensions:
    """``ImageField.update_dimension_fields``, which leaves the columns empty if there is nothing to read.

    That of a default is the size of the static file, without a request for each new row.
    """

    def __init__(self, field: Any) -> None:
        self._field = field
        self._update = field.update_dimension_fields
        self._columns = [column for column in (field.width_field, field.height_field) if column]
        self._defaults = tuple(_values(field, call=False))

    @classmethod
    def attach(cls, field: Any, model: type[Model]) -> None:
        """Take the place of the field's method, also where Django has connected it to a signal."""
        update = field.update_dimension_fields
        if isinstance(update, cls):
            return
        own = cls(field)
        if signals.post_init.disconnect(update, sender=model):
            signals.post_init.connect(own, sender=model)  # weak: it lives as long as its field
        field.update_dimension_fields = own

    def __call__(self, instance: Model, force: bool = False, **kwargs: Any) -> None:
        """Fill the columns; ``force`` is for a value that replaces another one."""
        try:
            if not self._has_filled_default(instance, force=force):
                self._update(instance, force=force, **kwargs)
        except FileNotFoundError:  # as ImageNotFoundError is
            self._fill(instance, None, None)
            self._report(instance, "it does not exist")
        except (CloudflareImagesError, SynchronousOnlyOperation) as error:
            if force:
                raise  # the size of the previous image must not stay
            self._report(instance, str(error))

    def _has_filled_default(self, instance: Model, *, force: bool) -> bool:
        name = str(instance.__dict__.get(self._field.attname) or "")
        if name not in self._defaults or not (force or self._is_incomplete(instance)):
            return False
        size = _static_size(name)
        if size is not None:
            self._fill(instance, *size)
        return size is not None

    def _is_incomplete(self, instance: Model) -> bool:
        return not all(getattr(instance, column) for column in self._columns)

    def _fill(self, instance: Model, width: int | None, height: int | None) -> None:
        for column in self._columns:
            setattr(instance, column, width if column == self._field.width_field else height)

    def _report(self, instance: Model, reason: str) -> None:
        _report_once(str(self._field), str(instance.__dict__.get(self._field.attname)), reason)


@lru_cache(maxsize=_MAX_REPORTED)
def _report_once(field: str, name: str, reason: str) -> None:
    logger.warning("The size of %r in %s cannot be read: %s", name, field, reason)


def _static_size(name: str) -> Size | None:
    """Return the pixels of a static file; ``None`` if there is none, or it is no image."""
    try:
        return _read_static_size(conf.generation(), name)
    except (OSError, ImageRejectedError):
        return None


@lru_cache(maxsize=64)  # what fails is not kept: the file may come later
def _read_static_size(_generation: int, name: str) -> Size | None:
    path = find_static(name)
    if path is None:
        raise FileNotFoundError(name)
    with path.open("rb") as file:
        found = images.inspect(file)
    return (found.width, found.height) if found.width and found.height else None


def _values(field: FileField, *, call: bool) -> Iterator[str]:
    """Yield what Python and the database give to rows without an image."""
    declared = field.get_default() if call else field.default
    for value in (declared, getattr(field, "db_default", None)):
        if value is not NOT_PROVIDED and isinstance(value, str | PurePath) and str(value):
            yield value.as_posix() if isinstance(value, PurePath) else str(value)
