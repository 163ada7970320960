"""Photos over the limits become smaller in the browser, upright, and without their location if asked."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.browser.page.conftest import Page, photo
from tests.browser.page.site import Site

ORIENTATION, COPYRIGHT, GPS = 0x0112, 0x8298, 0x8825
LIMIT = 10 * 1024 * 1024
PLACE = b"51.4778 N"


def exif(orientation: int = 6) -> bytes:
    """Return Exif data with an orientation, a copyright and a location."""
    data = Image.Exif()
    data[ORIENTATION], data[COPYRIGHT] = orientation, "Jane"
    gps = data.get_ifd(GPS)
    gps.update({1: "N", 2: (51.0, 28.0, 40.1), 3: "W", 4: (0.0, 0.0, 5.3), 27: PLACE.decode()})
    return data.tobytes()


def uploaded(page: Page, site: Site, name: str, body: bytes, **element: Any) -> Image.Image:
    """Upload a file and return what has arrived."""
    site.fields = [site.field("image", "Photo", **element)]
    page.open().choose(page.file(name, body))
    page.until(lambda: page.states()[:1] not in ([], ["preparing"], ["waiting"], ["sending"]), seconds=90)
    assert page.states() == ["done"], page.notes()
    return Image.open(io.BytesIO(site.stored(page.values()[0])))


@pytest.fixture(scope="session")
def of_48_megapixels(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A photo of a phone, lying on its side, of more than 10 MB."""
    noise = Image.effect_noise((2000, 1500), 90).resize((8000, 6000)).convert("RGB")
    noise.paste((255, 0, 0), (0, 0, 4000, 3000))
    body = io.BytesIO()
    noise.save(body, "JPEG", quality=97, exif=exif(6))
    assert len(body.getvalue()) > LIMIT
    return body.getvalue()


def test_a_photo_of_48_megapixels_arrives_small_and_upright(
    page: Page, site: Site, of_48_megapixels: bytes
) -> None:
    arrived = uploaded(page, site, "photo.jpg", of_48_megapixels)
    assert len(site.stored(page.values()[0])) <= LIMIT
    assert arrived.height > arrived.width, "upright"
    assert arrived.getexif().get(ORIENTATION, 1) == 1
    assert arrived.width * arrived.height > 10_000_000, "no smaller than it must be"
    red, green, _ = arrived.convert("RGB").getpixel((arrived.width - 50, 50))
    assert red > 200 > 50 > green, "the first corner is at the top right after the turn"
    assert "reduced to" in page.notes()[0]


def test_a_photo_within_the_limits_arrives_byte_for_byte(page: Page, site: Site) -> None:
    body = photo((800, 600), exif=exif())
    uploaded(page, site, "photo.jpg", body)
    assert site.stored(page.values()[0]) == body


def test_a_side_over_the_limit_is_reduced(page: Page, site: Site) -> None:
    arrived = uploaded(page, site, "wide.jpg", photo((12_400, 40)))
    assert arrived.width == 12_000


def test_what_is_clear_stays_clear_when_it_is_reduced(page: Page, site: Site) -> None:
    body = io.BytesIO()
    Image.new("RGBA", (400, 300), (0, 0, 255, 0)).save(body, "PNG")
    arrived = uploaded(page, site, "clear.png", body.getvalue(), max_side=200)
    assert arrived.size == (200, 150)
    assert arrived.convert("RGBA").getpixel((10, 10))[3] == 0


def test_a_kind_that_is_not_accepted_is_converted(page: Page, site: Site) -> None:
    arrived = uploaded(page, site, "scan.bmp", photo(kind="BMP"))
    assert arrived.format == "JPEG"
    assert page.names() == ["scan.bmp"]
    assert next(iter(site.reservations.values()))["filename"] == "scan.jpg"


def test_what_is_reduced_has_a_kind_that_is_accepted(page: Page, site: Site) -> None:
    body = photo((400, 300), "PNG")
    arrived = uploaded(page, site, "clear.png", body, max_side=200, accept="image/jpeg,image/png")
    assert (arrived.format, arrived.size) == ("PNG", (200, 150))


def test_a_kind_that_cannot_be_converted_is_refused(page: Page, site: Site) -> None:
    site.fields = [site.field("image", "Photo", accept="image/gif")]
    page.open().choose(page.file("photo.jpg", photo()))
    page.until(lambda: page.states() == ["refused"])
    assert page.notes() == ["photo.jpg is not an image of an accepted type."]


def test_an_animation_over_the_limit_is_refused_rather_than_stopped(page: Page, site: Site) -> None:
    frames = [Image.effect_noise((300, 200), spread) for spread in (10, 50)]
    body = io.BytesIO()
    frames[0].save(body, "WEBP", save_all=True, append_images=frames[1:])
    site.fields = [site.field("image", "Photo", max_bytes=1000)]
    page.open().choose(page.file("film.webp", body.getvalue()))
    page.until(lambda: page.states() == ["refused"])
    assert "and this browser cannot reduce it" in page.notes()[0]


def has_place(body: bytes) -> bool:
    """Return whether the location is anywhere in the file."""
    return PLACE in body or struct.pack(">II", 401, 10) in body or struct.pack("<II", 401, 10) in body


XMP = b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta>" + PLACE + b"</x:xmpmeta>"


def jpeg_with(segment: bytes, marker: int, *, after: bytes = b"") -> bytes:
    """Return a JPEG with one more segment, and with something behind its end."""
    body = photo((80, 60), exif=exif())
    return body[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(segment) + 2) + segment + body[2:] + after


@pytest.mark.filterwarnings("ignore:Image appears to be a malformed MPO file")
@pytest.mark.parametrize(
    "body",
    [
        photo((80, 60), exif=exif()),
        jpeg_with(XMP, 0xE1),
        jpeg_with(b"Photoshop 3.0\0" + PLACE, 0xED),
        jpeg_with(b"MPF\0", 0xE2, after=photo((80, 60), exif=exif())),
        photo((80, 60), "PNG", exif=exif()),
        photo((80, 60), "WEBP", exif=exif()),
    ],
    ids=["exif", "xmp", "iptc", "second image", "png", "webp"],
)
def test_the_location_is_removed_where_asked(body: bytes, page: Page, site: Site) -> None:
    assert has_place(body)
    kind = str(Image.open(io.BytesIO(body)).format).lower()
    arrived = uploaded(page, site, f"photo.{kind}", body, strip_location=True)
    stored = site.stored(page.values()[0])
    assert not has_place(stored)
    assert arrived.convert("RGB").tobytes() == Image.open(io.BytesIO(body)).convert("RGB").tobytes()
    if kind == "jpeg":
        assert arrived.getexif()[ORIENTATION] == 6
        assert arrived.getexif()[COPYRIGHT] == "Jane"
        assert not arrived.getexif().get_ifd(GPS)


def test_the_location_goes_where_exif_data_cannot_be_read(page: Page, site: Site) -> None:
    broken = exif().replace(struct.pack("<H", GPS), struct.pack("<H", GPS))[:-4]
    body = photo((80, 60), exif=broken)
    uploaded(page, site, "photo.jpg", body, strip_location=True)
    assert not has_place(site.stored(page.values()[0]))


def test_the_location_stays_where_nobody_has_asked(page: Page, site: Site) -> None:
    uploaded(page, site, "photo.jpg", photo((80, 60), exif=exif()))
    assert has_place(site.stored(page.values()[0]))


def test_an_svg_has_no_pixels_to_check(page: Page, site: Site, tmp_path: Path) -> None:
    body = b'<svg xmlns="http://www.w3.org/2000/svg" width="20000" height="10"/>'
    site.fields = [site.field("image", "Photo")]
    page.open().choose(page.file("drawing.svg", body))
    page.uploaded()
