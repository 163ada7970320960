"""Renditions of pending images in the database: shared by all processes, deleted with the bytes."""

from __future__ import annotations

from django.db import DatabaseError, transaction

from cf_images.background.rows import database, uploads
from cf_images.models import UNCONFIRMED, Rendition, Upload


def find_rendition(upload: Upload, key: str) -> Rendition | None:
    """Return what was kept under ``key``; one without data says that there is no rendition."""
    return Rendition.objects.using(database()).filter(upload=upload, key=key).first()


def keep_rendition(upload: Upload, rendition: Rendition) -> None:
    """Keep a rendition while the image is pending; it is no error where that fails.

    The row is locked meanwhile, so that no rendition outlives the bytes.
    """
    using = database()
    try:
        with transaction.atomic(using=using):
            pending = uploads().select_for_update().filter(pk=upload.pk, state__in=UNCONFIRMED)
            if pending.values_list("pk", flat=True).first():
                rendition.upload = upload
                Rendition.objects.using(using).bulk_create([rendition], ignore_conflicts=True)
    except DatabaseError:
        pass  # the visitor gets the image, and the next one has it rendered again
