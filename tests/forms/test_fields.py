"""``cf_images.forms.ImageField`` in a plain form: what saving would refuse is an error of the field."""

from __future__ import annotations

from typing import Any

import pytest
from django import forms
from django.core.files.uploadedfile import SimpleUploadedFile, TemporaryUploadedFile

from cf_images.forms import ImageField
from tests.images.builders import HEIC
from tests.pictures import picture
from tests.test_validators import ACCEPTED, REFUSED, SVG

MB = 1024 * 1024


class UploadForm(forms.Form):
    """A form without a model."""

    title = forms.CharField()
    image = ImageField(required=False)


def bound(name: str, body: bytes) -> UploadForm:
    return UploadForm({"title": "x"}, {"image": SimpleUploadedFile(name, body)})


@pytest.mark.parametrize("name", sorted(ACCEPTED.keys() - {"drawing.svg", "phone.heic", "short.jpg"}))
def test_an_image_is_accepted_as_by_djangos_field(name: str) -> None:
    form = bound(name, ACCEPTED[name])
    assert form.is_valid(), form.errors
    file = form.cleaned_data["image"]
    assert file.image.format
    assert file.content_type.startswith("image/")
    assert file.read() == ACCEPTED[name], "at its start"


@pytest.mark.parametrize("name", sorted(REFUSED.keys() - {"empty.png"}))
def test_what_cloudflare_refuses_is_refused_with_the_reason(name: str) -> None:
    body, reason = REFUSED[name]
    form = bound(name, body)
    assert list(form.errors) == ["image"]
    assert reason in form.errors["image"][0]


def test_an_empty_file_and_no_file_are_djangos(settings: Any) -> None:
    assert "empty" in bound("a.png", b"").errors["image"][0]
    assert UploadForm({"title": "x"}).is_valid()


def test_a_wrong_extension_is_djangos_error() -> None:
    assert "exe" in bound("a.exe", picture()).errors["image"][0]


def test_a_damaged_image_behind_a_good_header_is_djangos_error() -> None:
    damaged = picture("PNG", (40, 40))[:60] + b"damaged" * 9
    assert "valid image" in bound("a.png", damaged).errors["image"][0]


def test_a_photo_of_a_phone_is_accepted() -> None:
    form = bound("IMG_0001.HEIC", HEIC)
    assert form.is_valid(), form.errors
    assert form.cleaned_data["image"].image.size == (80, 64)


def test_without_the_extra_the_error_says_what_to_install(without_heic: None) -> None:
    assert 'pip install "django-cf-images[heic]"' in bound("IMG_0001.HEIC", HEIC).errors["image"][0]


def test_svg_is_refused_unless_the_form_allows_it() -> None:
    assert "SVG" in bound("a.svg", SVG).errors["image"][0]

    class Drawing(forms.Form):
        image = ImageField(allow_svg=True)

    form = Drawing({}, {"image": SimpleUploadedFile("a.svg", SVG)})
    assert form.is_valid(), form.errors
    assert form.cleaned_data["image"].read() == SVG
    form = Drawing({}, {"image": SimpleUploadedFile("a.txt", b"text")})
    assert "plain text" in form.errors["image"][0]


@pytest.mark.parametrize("name", ["drawing.php", "drawing.html", "drawing.png", "drawing"])
def test_an_svg_has_its_own_extension(name: str) -> None:
    class Drawing(forms.Form):
        image = ImageField(allow_svg=True)

    form = Drawing({}, {"image": SimpleUploadedFile(name, SVG, "image/svg+xml")})
    assert "svg" in form.errors["image"][0]


def test_a_file_on_disk_is_read_where_it_is() -> None:
    body = picture("JPEG")
    with TemporaryUploadedFile("a.jpg", "image/jpeg", len(body), None) as file:
        file.write(body)
        file.seek(0)
        form = UploadForm({"title": "x"}, {"image": file})
        assert form.is_valid(), form.errors
        assert form.cleaned_data["image"] is file


def test_what_will_be_reduced_is_accepted(settings: Any) -> None:
    body = picture("JPEG") + b"\0" * (11 * MB)
    assert "10 MB" in bound("a.jpg", body).errors["image"][0]
    settings.CF_IMAGES = {**settings.CF_IMAGES, "FIT_LIMITS": True}
    assert bound("a.jpg", body).is_valid()


def test_it_is_copied_and_rendered_as_djangos() -> None:
    assert 'accept="image/*"' in str(UploadForm()["image"])
    assert isinstance(UploadForm().fields["image"], ImageField)
