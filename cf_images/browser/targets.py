"""For what an upload is meant: a field, and the storage of its images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.core import signing
from django.core.exceptions import FieldDoesNotExist, ImproperlyConfigured
from django.core.files.storage import Storage, storages
from django.db.models import ImageField

from cf_images import conf
from cf_images.accounts import AccountStorage
from cf_images.background import places
from cf_images.storage import CloudflareImagesStorage, LocalImagesStorage

_SALT = "cf_images.browser.target"
_MAX_AGE = 7 * 24 * 3600  # seconds that a page may stay open

FORMATS = ("jpeg", "png", "gif", "webp")  # what browsers show everywhere, and Cloudflare stores


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A field ``label`` ("app.Model.field", or a form's), the alias of its storage, and accepted formats."""

    label: str
    alias: str
    formats: tuple[str, ...] = FORMATS

    @property
    def storage(self) -> Storage:
        """The storage of its images."""
        return storages[self.alias]

    def sign(self, owner: str) -> str:
        """Return the text by which a page of ``owner`` names this target."""
        return signing.dumps([self.label, self.alias, list(self.formats), owner], salt=_SALT)


def read(text: str, owner: str) -> Target | None:
    """Return the target that a page of ``owner`` has named; ``None`` for a forged, foreign or old text."""
    try:
        label, alias, formats, signed_for = signing.loads(text, salt=_SALT, max_age=_MAX_AGE)
    except (signing.BadSignature, ValueError, TypeError):
        return None
    return Target(label=label, alias=alias, formats=tuple(formats)) if signed_for == owner else None


def of_model_field(field: ImageField, formats: Sequence[str] = FORMATS) -> Target | None:
    """Return the target of a model's field; ``None`` where its storage takes no uploads from browsers."""
    alias = alias_of(field.storage)
    return Target(label=str(field), alias=alias, formats=tuple(formats)) if alias else None


def of_label(label: str) -> Target | None:
    """Return the target of "app.Model.field"; ``None`` for what is no image field of this kind."""
    found = model_field(label)
    return None if found is None else of_model_field(found)


def model_field(label: str) -> ImageField | None:
    """Return the image field "app.Model.field"; ``None`` where there is none."""
    model, _, name = label.rpartition(".")
    try:
        field: Any = apps.get_model(model)._meta.get_field(name)
    except (LookupError, ValueError, FieldDoesNotExist):
        return None
    return field if isinstance(field, ImageField) else None


def alias_of(storage: Storage) -> str | None:
    """Return the alias of a storage that takes uploads from browsers: one of this package, with new names.

    With ``unique_names: False`` an app chooses the name, and Cloudflare the ID of such an upload.
    """
    try:
        if isinstance(storage, CloudflareImagesStorage):
            return storage.alias if storage.has_unique_names else None
        if not isinstance(storage, LocalImagesStorage) or not storage.has_unique_names:
            return None
        return next((alias for alias in conf.storage_declarations() if is_same_place(alias, storage)), None)
    except ImproperlyConfigured:  # a check reports it
        return None


def is_same_place(alias: str, storage: Storage) -> bool:
    """Return whether the storage ``alias`` keeps images where ``storage`` does, public or private alike."""
    try:
        declared = places.storage_of(alias)
    except ImproperlyConfigured:
        return False
    if isinstance(declared, AccountStorage) and isinstance(storage, AccountStorage):
        private = declared.options.require_signed_urls
        return declared.account.key == storage.account.key and private == storage.options.require_signed_urls
    if isinstance(declared, LocalImagesStorage) and isinstance(storage, LocalImagesStorage):
        return os.path.abspath(declared.location) == os.path.abspath(storage.location)
    return False
