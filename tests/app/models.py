"""Models as a project would write them, one for each way to keep an image."""

from __future__ import annotations

from django.core.files.storage import storages
from django.db import models
from django_cleanup import cleanup
from imagekit.models import ImageSpecField
from imagekit.processors import ResizeToFill

from cf_images.storage import select_storage


def cloudflare() -> object:
    """The Cloudflare alias, whatever the environment."""
    return storages["cloudflare_images"]


class Profile(models.Model):
    """The README's model."""

    image = models.ImageField(upload_to="avatars/", storage=select_storage, blank=True)


class Photo(models.Model):
    """A model that keeps the dimensions."""

    file = models.ImageField(
        upload_to="photos/%Y/", storage=cloudflare, width_field="width", height_field="height", blank=True
    )
    width = models.PositiveIntegerField(null=True, blank=True)
    height = models.PositiveIntegerField(null=True, blank=True)


@cleanup.select
class Picture(models.Model):
    """A model as the thumbnail and clean-up apps know it."""

    file = models.ImageField(upload_to="pictures/", storage=cloudflare, blank=True)
    thumbnail = ImageSpecField(source="file", processors=[ResizeToFill(40, 40)], format="JPEG")


class Album(models.Model):
    """A model whose pages are edited with it."""

    cover = models.ImageField(upload_to="albums/", storage=select_storage, blank=True)


class Page(models.Model):
    """One of several, with several images on several storages."""

    album = models.ForeignKey(Album, on_delete=models.CASCADE)
    front = models.ImageField(upload_to="pages/", storage=cloudflare, blank=True)
    back = models.ImageField(upload_to="pages/", blank=True)


class Note(models.Model):
    """A model that may mention images."""

    title = models.CharField(max_length=200, blank=True)
    text = models.TextField(blank=True)
    data = models.JSONField(null=True, blank=True)


class _Visible(models.Manager["Keepsake"]):
    def get_queryset(self) -> models.QuerySet[Keepsake]:
        return super().get_queryset().filter(is_hidden=False)


class Keepsake(Photo):
    """An inherited model whose manager hides rows."""

    is_hidden = models.BooleanField(default=True)
    back = models.ImageField(upload_to="keepsakes/", storage=cloudflare, blank=True)

    objects = _Visible()

    class Meta:
        base_manager_name = "objects"
