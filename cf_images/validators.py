"""Refuse in the form what Cloudflare would refuse after the upload; attached to fields by ``apps.py``."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.files.storage import storages
from django.db import models
from django.db.models.fields.files import FieldFile

from cf_images import conf, images
from cf_images.exceptions import ImageRejectedError
from cf_images.files import from_start
from cf_images.local import LocalImagesStorage
from cf_images.sources import validate_source_url
from cf_images.storage import CloudflareImagesStorage, select_storage

__all__ = ["attach", "attach_everywhere", "validate_image", "validate_source_url"]


def validate_image(value: Any) -> None:
    """Raise ``ValidationError`` for a new file that Cloudflare would not take.

    A file that is stored already is not looked at, so that ``full_clean()`` of an unchanged row downloads
    nothing. What ``fit_limits`` will reduce on saving passes.
    """
    if not _is_new(value):
        return
    file = value.file if isinstance(value, FieldFile) else value
    try:
        with from_start(file) as start:
            info = images.inspect(start)
        if not (_mends(value) and images.can_be_reduced(info)):
            images.check_limits(info)
    except ImageRejectedError as error:
        raise ValidationError(error.message, code="image_rejected") from None


def attach(field: models.Field[Any, Any]) -> None:
    """Give the validator to an image field on one of our storages; migrations do not see it."""
    if not isinstance(field, models.ImageField) or validate_image in field.validators:
        return
    chosen = getattr(field, "_storage_callable", None)  # Django keeps what ``storage=`` was given as
    if chosen is select_storage or isinstance(field.storage, (CloudflareImagesStorage, LocalImagesStorage)):
        field.validators.append(validate_image)


def attach_everywhere() -> None:
    """``attach`` for every field of every model, unless ``VALIDATE_FIELDS`` is off."""
    if not conf.package("VALIDATE_FIELDS"):
        return
    for model in apps.get_models(include_auto_created=True):
        for field in model._meta.local_fields:
            attach(field)


def _is_new(value: Any) -> bool:
    if isinstance(value, FieldFile):
        return bool(value) and not getattr(value, "_committed", False)
    return hasattr(value, "read")  # a file without a name is falsy, but a file


def _mends(value: Any) -> bool:
    """Whether saving will reduce it; for local files, and DRF's uploads, the Cloudflare alias decides."""
    storage = getattr(value, "storage", None)
    if not isinstance(storage, CloudflareImagesStorage):
        alias = conf.package("CLOUDFLARE_ALIAS")
        storage = storages[alias] if alias in settings.STORAGES else None
    if isinstance(storage, CloudflareImagesStorage):
        return bool(storage.option("fit_limits"))
    return bool(conf.option("fit_limits", {}))
