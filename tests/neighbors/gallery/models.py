"""One model for each package that has a field or a manager of its own."""

from __future__ import annotations

from django.core.files.storage import storages
from django.db import models
from pictures.models import PictureField
from simple_history.models import HistoricalRecords
from versatileimagefield.fields import VersatileImageField

from cf_images.storage import select_storage


def renditions() -> object:
    """The alias that keeps given names, for packages that look renditions up beside the original."""
    return storages["renditions"]


class Scan(models.Model):
    """django-pictures: the field makes its renditions when a row is saved."""

    picture = PictureField(
        upload_to="scans/",
        storage=renditions,
        width_field="width",
        height_field="height",
        file_types=["WEBP"],
    )
    width = models.PositiveIntegerField(null=True)
    height = models.PositiveIntegerField(null=True)


class Poster(models.Model):
    """django-versatileimagefield: a page makes the renditions that it shows."""

    image = VersatileImageField(upload_to="posters/", storage=renditions)


class Portrait(models.Model):
    """django-simple-history: its table of history has the name as text."""

    image = models.ImageField(upload_to="portraits/", storage=select_storage)
    history = HistoricalRecords()
