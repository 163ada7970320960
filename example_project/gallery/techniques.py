"""The Python code on the cards: each function is short, runs, and is shown as it stands here."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.files import File

from cf_images.variants import FlexibleVariant
from gallery.models import Photo, PrivatePhoto


def square() -> FlexibleVariant:
    """Return a variant that is validated here; editors complete its options."""
    return FlexibleVariant(width=240, height=240, fit="cover", gravity="right")


def url_for_five_minutes(photo: PrivatePhoto) -> str:
    """Return a URL that is signed on this machine; ``.url`` and the tag sign for an hour."""
    return photo.file.storage.url(photo.file.name, "postcard", expire=timedelta(minutes=5))


def upload(file: File[Any], *, title: str) -> Photo:
    """Save now; the worker uploads it as soon as Cloudflare can be reached."""
    return Photo.objects.create(card="pending", title=title, file=file)


def replace(photo: Photo, file: File[Any]) -> None:
    """Store under a new name; the old image is deleted after the commit."""
    photo.file = photo.file.storage.replace(photo.file.name, file)
    photo.save()
