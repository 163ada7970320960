"""What ``test_packages`` runs in a process of its own: real packages that use the storage."""

from __future__ import annotations

import base64
import gc
import io
import logging
from typing import Any

import httpx
import pytest
from django.core.cache import cache
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.core.management import call_command
from django.template import Context, Template
from drf_extra_fields.fields import Base64ImageField
from filer.models import Image as FilerImage
from PIL import Image
from rest_framework import serializers

from tests.neighbors.gallery.models import Portrait, Poster, Scan
from tests.pictures import picture

pytestmark = pytest.mark.django_db

JPEG = picture("JPEG", (1200, 800))


def delivered(url: str) -> tuple[int, int]:
    """Return the size of what a browser gets."""
    response = httpx.get(url, verify=False).raise_for_status()
    return Image.open(io.BytesIO(response.content)).size


def uploads(cloudflare: Any) -> int:
    return sum(request.method == "POST" for request in cloudflare.requests)


def test_django_pictures(cloudflare: Any, django_capture_on_commit_callbacks: Any) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        scan = Scan.objects.create(picture=ContentFile(JPEG, name="scan.jpg"))
    scan = Scan.objects.get()
    sources = scan.picture.aspect_ratios[None]["WEBP"]
    assert sources
    for width, rendition in sources.items():
        stored = Image.open(io.BytesIO(cloudflare.images[rendition.name].body)).size
        assert delivered(rendition.url) == stored
        assert width - 1 <= stored[0] <= width
    assert len(cloudflare.images) == len(sources) + 1
    with django_capture_on_commit_callbacks(execute=True):
        scan.picture.delete()
    assert not cloudflare.images


def test_django_versatileimagefield(cloudflare: Any) -> None:
    poster = Poster.objects.create(image=ContentFile(JPEG, name="poster.jpg"))
    url = poster.image.thumbnail["300x300"].url
    assert delivered(url) == (300, 200)
    assert delivered(poster.image.crop["50x50"].url) == (50, 50)
    before = uploads(cloudflare)
    cache.clear()  # another process, another day
    assert Poster.objects.get().image.thumbnail["300x300"].url == url
    assert uploads(cloudflare) == before
    poster.image.delete_all_created_images()
    assert list(cloudflare.images) == [poster.image.name]


def test_django_filer(cloudflare: Any) -> None:
    stored = FilerImage.objects.create(
        original_filename="filer.jpg", file=ContentFile(JPEG, name="filer.jpg"), is_public=True
    )
    assert delivered(stored.url) == (1152, 768)
    assert (stored.width, stored.height) == (1200, 800)
    url = stored.easy_thumbnails_thumbnailer.get_thumbnail({"size": (40, 40), "crop": True}).url
    assert delivered(url) == (40, 40)
    before = uploads(cloudflare)
    cache.clear()
    again = FilerImage.objects.get().easy_thumbnails_thumbnailer
    assert again.get_thumbnail({"size": (40, 40), "crop": True}).url == url
    assert uploads(cloudflare) == before
    stored.delete()
    assert not cloudflare.images


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it closes no file
def test_django_dbbackup(cloudflare: Any) -> None:
    media = storages["default"]
    bodies = {"a/first.jpg": JPEG, "second.png": picture("PNG")}
    for name, body in bodies.items():
        assert media.save(name, ContentFile(body)) == name
    call_command("mediabackup", verbosity=0)
    for name in bodies:
        media.delete(name)
    call_command("mediarestore", interactive=False, verbosity=0)
    assert {name: image.body for name, image in cloudflare.images.items()} == bodies
    call_command("mediarestore", interactive=False, replace=True, verbosity=0)
    assert {name: image.body for name, image in cloudflare.images.items()} == bodies
    gc.collect()  # here, where the warning about its open files is ignored


def test_django_simple_history(cloudflare: Any) -> None:
    portrait = Portrait.objects.create(image=ContentFile(JPEG, name="first.jpg"))
    first = portrait.image.name
    portrait.image = ContentFile(picture("PNG"), name="second.png")
    portrait.save()
    newest, oldest = portrait.history.all()
    assert type(oldest.image) is str
    assert (oldest.image, newest.image) == (first, portrait.image.name)
    source = "{% load cf_images %}{{ row.image|variant:'avatar' }} {% cf_image row.image alt='' %}"
    for row in (newest, oldest):
        url, _, tag = Template(source).render(Context({"row": row})).partition(" ")
        assert url == storages["cloudflare_images"].url(row.image, variant="avatar")
        assert delivered(url)
        assert f'src="{storages["cloudflare_images"].url(row.image)}"' in tag


class PortraitSerializer(serializers.ModelSerializer[Portrait]):
    """As in any project."""

    image = Base64ImageField()

    class Meta:
        model = Portrait
        fields = ["image"]


def test_drf_extra_fields(cloudflare: Any) -> None:
    text = f"data:image/jpeg;base64,{base64.b64encode(JPEG).decode()}"
    serializer = PortraitSerializer(data={"image": text})
    assert serializer.is_valid(), serializer.errors
    portrait = serializer.save()
    assert cloudflare.images[portrait.image.name].body == JPEG
    assert delivered(PortraitSerializer(portrait).data["image"]) == (1152, 768)


def test_weasyprint(cloudflare: Any, caplog: Any) -> None:
    try:
        import weasyprint
    except OSError as error:
        pytest.skip(f"WeasyPrint needs Pango: {error}")
    portrait = Portrait.objects.create(image=ContentFile(JPEG, name="print.jpg"))
    html = Template("{% load cf_images %}{% cf_image row.image 'avatar' alt='' %}").render(
        Context({"row": portrait})
    )
    with caplog.at_level(logging.WARNING, logger="weasyprint"):
        document = weasyprint.HTML(string=html).write_pdf()
    assert document.startswith(b"%PDF")
    assert [record.getMessage() for record in caplog.records if record.name == "weasyprint"] == []
    assert any(request.path.endswith(f"{portrait.image.name}/avatar") for request in cloudflare.requests)
