"""What the cards show in Python: each function is short, runs, and stands on the page as it stands here."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.files import File

from cf_images.flexible import FlexibleVariant
from example_project.gallery.models import Photo, PrivatePhoto


def square() -> FlexibleVariant:
    """Checked when it is made; your editor knows every option."""
    return FlexibleVariant(width=240, height=240, fit="cover", gravity="right")


def address_for_five_minutes(photo: PrivatePhoto) -> str:
    """A signed address, made on this machine; ``.url`` and the tag give one for an hour."""
    return photo.file.storage.url(photo.file.name, "postcard", expire=timedelta(minutes=5))


def upload(file: File[Any], *, title: str) -> Photo:
    """Saved now, uploaded by the worker: no line knows whether Cloudflare can be reached."""
    return Photo.objects.create(card="pending", title=title, file=file)


def replace(photo: Photo, file: File[Any]) -> None:
    """A new name; the old image goes with the commit."""
    photo.file = photo.file.storage.replace(photo.file.name, file)
    photo.save()
