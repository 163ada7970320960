"""Refuse in the form what Cloudflare would refuse after the upload; ``apps.py`` attaches it to fields."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.fields.files import FieldFile

from cf_images import conf, images
from cf_images.accounts import cloudflare_options
from cf_images.exceptions import ImageRejectedError
from cf_images.image_fields import is_ours
from cf_images.images.reading import from_start
from cf_images.storage import CloudflareImagesStorage
from cf_images.storage.mirror import sides
from cf_images.translation import rejection

__all__ = ["attach", "attach_everywhere", "validate_image", "validate_source_url"]


def validate_image(value: Any) -> None:
    """Raise ``ValidationError`` for a new file that Cloudflare would not accept.

    A stored file is not read, so that ``full_clean()`` of an unchanged row downloads nothing. What
    ``fit_limits`` will reduce on saving passes.
    """
    if not _is_new(value):
        return
    file = value.file if isinstance(value, FieldFile) else value
    try:
        with from_start(file) as start:
            info = images.inspect(start)
        if not (_fits_limits(value) and images.can_be_reduced(info)):
            images.check_limits(info)
    except ImageRejectedError as error:
        raise ValidationError(rejection(error), code="image_rejected") from None


def validate_source_url(url: str) -> None:
    """Raise ``ValidationError`` unless an image may be fetched from ``url``.

    https, a public host name, no credentials; ``CF_IMAGES["UPLOAD_URL_…"]`` relaxes each of them.
    """
    from cf_images.background import fetch  # the package has models, which must not load with this module

    fetch.validate_source_url(url)


def attach(field: models.Field[Any, Any]) -> None:
    """Add the validator to an image field on a storage of this package; migrations do not see it."""
    if not isinstance(field, models.ImageField) or validate_image in field.validators:
        return
    if is_ours(field):
        field.validators.append(validate_image)


def attach_everywhere() -> None:
    """``attach`` to every field of every model, unless ``VALIDATE_FIELDS`` is off."""
    if not conf.setting("VALIDATE_FIELDS"):
        return
    for model in apps.get_models(include_auto_created=True):
        for field in model._meta.local_fields:
            attach(field)


def _is_new(value: Any) -> bool:
    if isinstance(value, FieldFile):
        return bool(value) and not getattr(value, "_committed", False)
    return hasattr(value, "read")  # a file without a name is false, but a file


def _fits_limits(value: Any) -> bool:
    """Return whether saving reduces it; for local files, and DRF's uploads, the Cloudflare alias decides."""
    storage = getattr(value, "storage", None)
    for side in sides(storage) if storage is not None else ():
        if isinstance(side, CloudflareImagesStorage):
            return side.options.fit_limits
    return cloudflare_options().fit_limits
