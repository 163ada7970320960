"""Conversion of formats that Cloudflare refuses."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from cf_images import images
from cf_images.exceptions import ImageRejectedError
from cf_images.images import converting
from cf_images.images.converting import convert
from tests.pictures import encoded, picture


@pytest.mark.parametrize(
    ("kind", "target"), [("BMP", "png"), ("TIFF", "jpeg"), ("PPM", "webp"), ("BMP", "jpg")]
)
def test_format_becomes_one_that_is_accepted(kind: str, target: str) -> None:
    info = images.validate(convert(io.BytesIO(picture(kind)), {kind.lower(): target}))
    assert info.format == {"jpg": "jpeg"}.get(target, target)
    assert (info.width, info.height) == (64, 48)


@pytest.mark.parametrize("body", [picture("PNG"), b"no image", b""])
def test_other_files_stay_as_they_are(body: bytes) -> None:
    file = io.BytesIO(body)
    assert convert(file, {"bmp": "png"}) is file
    assert file.tell() == 0


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F"])
@pytest.mark.parametrize("target", ["png", "jpeg", "webp"])
def test_every_mode_of_pixels_is_converted(mode: str, target: str) -> None:
    image = Image.new(mode, (8, 8))
    found = Image.open(convert(io.BytesIO(encoded(image, "TIFF")), {"tiff": target}))
    assert found.format == {"jpeg": "JPEG", "png": "PNG", "webp": "WEBP"}[target]
    if target == "png" and mode in ("LA", "RGBA"):
        assert found.has_transparency_data


def test_orientation_is_applied_and_the_profile_kept() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    body = encoded(Image.new("RGB", (40, 20)), "TIFF", exif=exif, icc_profile=b"profile")
    found = Image.open(convert(io.BytesIO(body), {"tiff": "png"}))
    assert found.size == (20, 40)
    assert found.info["icc_profile"] == b"profile"


def test_pages_and_damage_and_too_many_pixels_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    body = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    with pytest.raises(ImageRejectedError, match="several pages"):
        convert(io.BytesIO(body), {"tiff": "png"})
    with pytest.raises(ImageRejectedError, match="it is damaged"):
        convert(io.BytesIO(picture("BMP")[:500]), {"bmp": "png"})
    monkeypatch.setattr(converting, "MAX_AREA", 100)
    with pytest.raises(ImageRejectedError, match="more than 100 pixels"):
        convert(io.BytesIO(picture("BMP")), {"bmp": "png"})
