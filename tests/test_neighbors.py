"""Real apps that projects combine with this package read, write and delete through the storage.

Thumbnail apps run twice: with their renditions elsewhere, and with their renditions at Cloudflare under
the names that they look up, where a second view of the page must upload nothing.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache import cache
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from easy_thumbnails import storage as easy_storage
from easy_thumbnails.files import get_thumbnailer
from PIL import Image
from rest_framework import serializers
from sorl.thumbnail import default as sorl_default
from sorl.thumbnail import get_thumbnail

from tests.app.models import Picture
from tests.pictures import picture

pytestmark = pytest.mark.django_db

JPEG = picture("JPEG", (200, 100))


@pytest.fixture
def stored(cloudflare: Any) -> Picture:
    """A row with an image at Cloudflare."""
    row = Picture(file=ContentFile(JPEG, name="photo.jpg"))
    row.save()
    return row


@pytest.fixture(params=["renditions_elsewhere", "renditions"])
def renditions(request: pytest.FixtureRequest, settings: Any, monkeypatch: Any) -> Any:
    """The storage of the renditions of thumbnail apps; each finds it through its own setting."""
    alias: str = request.param
    settings.THUMBNAIL_DEFAULT_STORAGE_ALIAS = settings.THUMBNAIL_STORAGE = alias
    settings.IMAGEKIT_DEFAULT_FILE_STORAGE = alias
    settings.STORAGES = {**settings.STORAGES}  # with an empty in-memory storage
    cache.clear()
    monkeypatch.setattr(easy_storage, "thumbnail_default_storage", storages[alias])  # bound at import
    monkeypatch.setattr(sorl_default, "storage", sorl_default.Storage())
    return storages[alias]


def easy(row: Picture) -> Any:
    """easy-thumbnails, as its template tag does it."""
    return get_thumbnailer(row.file).get_thumbnail({"size": (40, 40), "crop": True})


def sorl(row: Picture) -> Any:
    """sorl-thumbnail, as its template tag does it."""
    return get_thumbnail(row.file, "40x40", crop="center")


def imagekit(row: Picture) -> Any:
    """django-imagekit, as a template does it."""
    row.thumbnail.generate()
    return row.thumbnail


@pytest.mark.parametrize("make", [easy, sorl, imagekit])
def test_thumbnail_apps_read_originals_and_find_their_renditions(
    stored: Picture, renditions: Any, cloudflare: Any, make: Callable[[Picture], Any]
) -> None:
    first = make(stored)
    with renditions.open(first.name) as file:
        assert Image.open(io.BytesIO(file.read())).size == (40, 40)
    before = uploads(cloudflare)
    cache.clear()  # another process, another day
    second = make(Picture.objects.get())
    assert second.name == first.name
    assert uploads(cloudflare) == before


def uploads(cloudflare: Any) -> int:
    """Return how many images this test has uploaded."""
    return sum(request.method == "POST" for request in cloudflare.requests)


def test_cleanup_deletes_the_old_image_after_a_replacement_and_keeps_the_new_one(
    stored: Picture, cloudflare: Any, django_capture_on_commit_callbacks: Any
) -> None:
    old = stored.file.name
    with django_capture_on_commit_callbacks(execute=True):
        stored.file = ContentFile(picture("PNG"), name="photo.jpg")
        stored.save()
    assert list(cloudflare.images) == [stored.file.name]
    assert old != stored.file.name


def test_cleanup_deletes_the_image_of_a_deleted_row(
    stored: Picture, cloudflare: Any, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        stored.delete()
    assert not cloudflare.images


class PictureSerializer(serializers.ModelSerializer[Picture]):
    """As in any project."""

    class Meta:
        model = Picture
        fields = ["file"]


def test_a_serializer_stores_an_upload_and_returns_its_url(cloudflare: Any) -> None:
    serializer = PictureSerializer(data={"file": ContentFile(JPEG, name="photo.jpg")})
    assert serializer.is_valid(), serializer.errors
    row = serializer.save()
    assert list(cloudflare.images) == [row.file.name]
    assert PictureSerializer(row).data["file"] == storages["cloudflare_images"].url(row.file.name)


def test_a_serializer_refuses_what_cloudflare_would(cloudflare: Any) -> None:
    serializer = PictureSerializer(data={"file": ContentFile(picture("TIFF"), name="photo.jpg")})
    assert not serializer.is_valid()
    assert "TIFF" in str(serializer.errors["file"][0])
    assert not cloudflare.requests
