"""Photographs that everybody may see, and private ones; both know their size, so that no page shifts."""

from __future__ import annotations

from django.conf import settings
from django.core.files.storage import Storage, storages
from django.db import models

from cf_images.storage import select_storage


def private_storage() -> Storage:
    """Images that only signed addresses open; while developing local files, which are not private."""
    return storages["default" if settings.ENV_NAME == "dev" else "private_images"]


class Picture(models.Model):
    """What both have; ``card`` is the place in the gallery."""

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
    """A photograph that everybody may see."""

    file = models.ImageField(
        upload_to="photos/", storage=select_storage, width_field="width", height_field="height"
    )


class PrivatePhoto(Picture):
    """A photograph that is shown to whom the page gives a signed address."""

    file = models.ImageField(
        upload_to="private/", storage=private_storage, width_field="width", height_field="height"
    )
