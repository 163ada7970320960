"""Checks of fields: whether the names of images fit into them."""

from __future__ import annotations

import time

from django.core import checks
from django.db.models import FileField

from cf_images.accounts import backend_options, cloudflare_alias
from cf_images.checks.storages import Check, Messages
from cf_images.conf import StorageOptions
from cf_images.image_fields import file_fields, selects_storage
from cf_images.images import names
from cf_images.storage import CloudflareImagesStorage
from cf_images.storage.mirror import sides


def max_length() -> Messages:
    """E022: a field that is too short for any name, so that every save fails; also where images stay
    local.
    """
    for field in file_fields():
        options = _options(field)
        if options is None or not options.unique_names or field.max_length is None:
            continue
        least = names.shortest(
            _folder(field),
            seconds=int(time.time()),
            is_private=options.require_signed_urls,
            has_id=options.require_signed_urls and not options.background,
        )
        if field.max_length < least:
            yield checks.Error(
                f"The field has max_length={field.max_length}; the names of its images need {least} "
                f"characters or more: its upload_to, time and random part, and the extension.",
                hint=f"Give it max_length=100, which is Django's default, or at least {least}.",
                obj=field,
                id="cf_images.E022",
            )


CHECKS: tuple[Check, ...] = (max_length,)


def _options(field: FileField) -> StorageOptions | None:
    """Return the options of the storage that the field has in production; ``None`` for one of another
    package.
    """
    for storage in sides(field.storage):
        if isinstance(storage, CloudflareImagesStorage):
            return storage.options
    given = backend_options().get(cloudflare_alias())
    return StorageOptions(given) if selects_storage(field) and given is not None else None


def _folder(field: FileField) -> str:
    """Return the folder as it is now; that of a callable is only known to it."""
    return "" if callable(field.upload_to) else time.strftime(str(field.upload_to))
