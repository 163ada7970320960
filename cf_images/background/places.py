"""How the ledger of transfers writes a storage: an alias, a directory, or the field that has it."""

from __future__ import annotations

import os

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist, ImproperlyConfigured
from django.core.files.storage import FileSystemStorage, InvalidStorageError, Storage, storages
from django.db.models import FileField

from cf_images import conf
from cf_images.accounts import Account, AccountStorage, Mirror, find_account, is_mirror, sides_of


def storage_of(place: str) -> Storage:
    """Return the storage that ``place`` stands for; a mirror is none, but each of its sides.

    An alias in ``STORAGES``, the absolute path of a directory, or ``app.Model.field`` for the storage of a
    field that has no alias. Raise ``ImproperlyConfigured`` for what is none of them.
    """
    if is_mirror(place):
        sides = " or ".join(map(repr, sides_of(place)))
        raise ImproperlyConfigured(
            f"{place!r} is a mirror, which keeps its files in two storages: name {sides}."
        )
    if place in conf.storage_declarations():
        try:
            return storages[place]
        except InvalidStorageError as error:
            raise ImproperlyConfigured(str(error)) from None
    if os.path.isabs(place):
        return FileSystemStorage(location=place)
    try:
        label, _, name = place.rpartition(".")
        field = apps.get_model(label)._meta.get_field(name)
    except (LookupError, ValueError, FieldDoesNotExist):
        field = None
    if not isinstance(field, FileField):
        raise ImproperlyConfigured(
            f"{place!r} is no alias in STORAGES, no absolute path of a directory, and no file field."
        )
    return field.storage


def place_of_field(field: FileField) -> str:
    """Return how the ledger writes the storage of a field: by its alias, if it has one, and a mirror by that
    of its primary.
    """
    storage = field.storage
    if isinstance(storage, Mirror):
        return storage.primary_alias
    if isinstance(storage, AccountStorage) and storage.alias:
        return storage.alias
    for alias in conf.storage_declarations():
        try:
            if storages[alias] is storage or _is_equal(storages[alias], storage):
                return alias
        except InvalidStorageError:
            continue
    return str(field)


def account_of(place: str) -> Account | None:
    """Return the account of a place; ``None`` where its files are not at Cloudflare."""
    return find_account(place)


def _is_equal(one: Storage, other: Storage) -> bool:
    # Django's own storages compare class and arguments; default_storage is a lazy object around one.
    return bool(one == other)
