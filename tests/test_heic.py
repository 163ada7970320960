"""Photos as phones send them, where the extra ``[heic]`` is installed: from the form to the browser."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pillow_heif
import pytest
from django import forms
from django.core.files.base import ContentFile
from django.core.files.images import get_image_dimensions
from django.core.files.storage import storages
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from PIL import Image
from rest_framework.serializers import ModelSerializer

from cf_images import images
from cf_images.storage import LocalImagesStorage
from tests.app.models import Photo, Profile

ROOT = Path(__file__).parents[1]


def heic(size: tuple[int, int] = (120, 80), *, orientation: int = 1) -> bytes:
    """Return a photo whose left half is red, turned as a phone's sensor was."""
    picture = Image.new("RGB", size, "blue")
    picture.paste("red", (0, 0, size[0] // 2, size[1]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    file = pillow_heif.from_pillow(picture)
    file.save(buffer, exif=exif.tobytes())
    return buffer.getvalue()


PHOTO = heic()
TURNED = {1: (120, 80), 3: (120, 80), 6: (80, 120), 8: (80, 120), 5: (80, 120)}


class PhotoForm(forms.ModelForm):
    """A form without a word about HEIC, with Django's own field."""

    class Meta:
        model = Photo
        fields = ("file",)


class PhotoSerializer(ModelSerializer):
    """A serializer of the same kind."""

    class Meta:
        model = Photo
        fields = ("file",)


@pytest.fixture(params=["default", "cloudflare_images"])
def stored_in(request: Any, monkeypatch: pytest.MonkeyPatch, cloudflare: Any, settings: Any) -> str:
    """The field's storage in development and in production."""
    settings.DEBUG = True
    monkeypatch.setattr(Photo._meta.get_field("file"), "storage", storages[request.param])
    return str(request.param)


def by_form(upload: Any) -> Photo:
    form = PhotoForm(files={"file": upload})
    assert form.is_valid(), form.errors
    return form.save()


def by_serializer(upload: Any) -> Photo:
    serializer = PhotoSerializer(data={"file": upload})
    assert serializer.is_valid(), serializer.errors
    return serializer.save()  # type: ignore[no-any-return]


@pytest.mark.django_db
@pytest.mark.parametrize("save", [by_form, by_serializer])
@pytest.mark.parametrize("orientation", TURNED)
def test_a_photo_is_stored_with_its_upright_size(
    save: Callable[[Any], Photo], orientation: int, stored_in: str
) -> None:
    body = heic(orientation=orientation)
    row = save(SimpleUploadedFile("IMG_0001.HEIC", body, content_type="image/heic"))
    assert (row.width, row.height) == TURNED[orientation]
    with storages[stored_in].open(row.file.name) as file:
        assert file.read() == body


@pytest.mark.parametrize("orientation", TURNED)
def test_the_header_says_what_pillow_says(orientation: int) -> None:
    body = heic(orientation=orientation)
    info = images.inspect(io.BytesIO(body))
    assert (info.width, info.height) == get_image_dimensions(ContentFile(body)) == TURNED[orientation]


@pytest.mark.parametrize("size", [(1, 1), (63, 65), (513, 400), (64, 64)])
def test_the_header_says_what_pillow_says_of_other_sizes(size: tuple[int, int]) -> None:
    info = images.inspect(io.BytesIO(heic(size)))
    assert (info.width, info.height) == size


@pytest.mark.django_db
def test_a_browser_gets_it_in_a_format_that_it_knows(stored_in: str, http_get: Any) -> None:
    row = by_form(SimpleUploadedFile("IMG_0001.HEIC", heic(orientation=6)))
    url = storages[stored_in].url(row.file.name, variant="w=40")  # type: ignore[call-arg]
    content_type, body = http_get(url)
    assert content_type == "image/jpeg"
    shown = Image.open(io.BytesIO(body))
    assert shown.size == (40, 60)
    top, bottom = (shown.convert("RGB").getpixel((20, y)) for y in (10, 50))
    assert top[0] > 200 > bottom[0]  # type: ignore[index]  # a quarter turn clockwise puts left on top


@pytest.fixture
def http_get() -> Callable[[str], tuple[str, bytes]]:
    """Get a URL of this site or of the emulator, as a browser that knows only JPEG."""

    def get(url: str) -> tuple[str, bytes]:
        if url.startswith("/"):
            response = Client(headers={"Accept": "image/jpeg"}).get(url)
            return response["Content-Type"], b"".join(response.streaming_content)  # type: ignore[attr-defined]
        import httpx

        answered = httpx.get(url, headers={"Accept": "image/jpeg"}, trust_env=False)
        return answered.headers["Content-Type"], answered.content

    return get


@pytest.mark.django_db
def test_a_pending_photo_is_shown(cloudflare: Any, settings: Any, client: Any) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "BACKGROUND": True, "QUEUE": "none"}
    row = Profile.objects.create(image=ContentFile(PHOTO, name="a.heic"))
    response = client.get(row.image.storage.url(row.image.name, variant="avatar"))
    assert response["Content-Type"] == "image/jpeg"
    assert Image.open(io.BytesIO(response.content)).size == (240, 240)


def test_fit_limits_makes_a_jpeg_of_a_large_photo(tmp_path: Path, settings: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("cf_images.images.limits.MAX_SIDE", 60)
    settings.CF_IMAGES = {"FIT_LIMITS": True}
    local = LocalImagesStorage(location=tmp_path)
    with local.open(local.save("a.heic", ContentFile(heic(orientation=6)))) as file:
        shown = Image.open(file)
        assert (shown.format, shown.size) == ("JPEG", (40, 60))


def test_the_local_variant_says_what_to_install(
    settings: Any, client: Any, without_heic: None, monkeypatch: Any
) -> None:
    settings.DEBUG = True
    name = storages["default"].save("photos/a.heic", ContentFile(PHOTO))
    response = client.get(storages["default"].url(name, variant="w=40"))  # type: ignore[call-arg]
    assert response.status_code == 400
    assert b'pip install "django-cf-images[heic]"' in response.content


SETUP = """
import os; os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
import django; django.setup()
from PIL import Image; Image.preinit()
print("HEIF" in Image.OPEN)
"""


@pytest.mark.parametrize(
    ("before", "registered"),
    [
        ("", "True"),
        ("import sys; sys.modules['pillow_heif'] = None", "False"),
        ("import pillow_heif; pillow_heif.register_heif_opener(thumbnails=False)", "True"),
    ],
)
def test_it_registers_itself_when_the_app_starts(before: str, registered: str) -> None:
    command = [sys.executable, "-W", "error", "-c", f"{before}\n{SETUP}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [registered]
