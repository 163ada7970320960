"""Public and private photographs; both store their size, so that pages do not shift while images load."""

from __future__ import annotations

from django.conf import settings
from django.core.files.storage import Storage, storages
from django.db import models

from cf_images.storage import select_storage


def private_storage() -> Storage:
    """Return the storage for private images; in development local files, which are not private."""
    return storages["default" if settings.ENV_NAME == "dev" else "private_images"]


class Picture(models.Model):
    """What both have in common; ``card`` is the place in the gallery."""

    card = models.SlugField()
    title = models.CharField(max_length=80)
    width = models.PositiveIntegerField(null=True, editable=False)
    height = models.PositiveIntegerField(null=True, editable=False)

    class Meta:
        abstract = True
        ordering = ["-pk"]

    def __str__(self) -> str:
        return self.title


class Photo(Picture):
    """A public photograph."""

    file = models.ImageField(
        upload_to="photos/", storage=select_storage, width_field="width", height_field="height"
    )


class PrivatePhoto(Picture):
    """A photograph that only signed URLs open."""

    file = models.ImageField(
        upload_to="private/", storage=private_storage, width_field="width", height_field="height"
    )
