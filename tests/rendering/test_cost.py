"""Rendering within a limit of time: what is expected to take longer is refused before it is decoded."""

from __future__ import annotations

import io
import os
import struct
import zlib
from typing import Any

import pytest
from PIL import Image, ImageFile

from cf_images import rendering
from cf_images.rendering import RenderingError, Transform, render

from .pictures import animation, bands, jpeg_head, opened, plain, png_head, saved

AVATAR = Transform.from_options({"width": 240, "height": 240, "fit": "cover"})
PUBLIC = Transform.from_options({"width": 1366, "height": 768, "fit": "scale-down"})
LIMIT = 0.3
BEST = "image/avif,image/webp"


@pytest.fixture
def never_decodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where pixels are decoded."""

    def load(*_: Any, **__: Any) -> Any:
        pytest.fail("pixels were decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)


def chunk(name: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def gif(*, before: bytes = b"", frames: int = 1, size: tuple[int, int] = (20, 10)) -> bytes:
    data = saved(Image.new("P", size), "GIF")
    head, trailer = 13 + (3 << ((data[10] & 7) + 1)), len(data) - 1
    return data[:head] + before + data[head:trailer] * frames + b";"


def progressive(scans: int) -> bytes:
    data = saved(Image.new("RGB", (4000, 4000), "teal"), "JPEG", progressive=True)
    last = data.rfind(b"\xff\xda")
    return data[:-2] + data[last:-2] * scans + data[-2:]


PNG = plain((30, 20))
EXPENSIVE = {
    "25 megapixels of PNG": png_head(5000, 5000),
    "thousands of PNG chunks": PNG[:33] + chunk(b"teSt") * 10_001 + PNG[33:],
    "compressed texts": PNG[:33] + chunk(b"zTXt", b"a\0\0" + zlib.compress(b"x" * 10**6)) * 17 + PNG[33:],
    "color profiles": PNG[:33] + chunk(b"iCCP", b"a\0\0" + zlib.compress(b"x" * 10**6)) * 17 + PNG[33:],
    "comments of a GIF": gif(before=b"!\xfe" + b"\1x" * 60_001 + b"\0"),
    "extensions of a GIF": gif(before=b"!\1\0" * 60_001),
    "scans of a JPEG": progressive(40),
    "segments of a JPEG": jpeg_head(16, 16)[:2] + b"\xff\xe9\0\x02" * 10_001 + jpeg_head(16, 16)[2:],
    "arithmetic coding": jpeg_head(16, 16).replace(b"\xff\xc0", b"\xff\xc9", 1),
}


@pytest.mark.usefixtures("never_decodes")
@pytest.mark.parametrize("name", EXPENSIVE)
def test_what_would_take_long_is_refused_before_it_is_decoded(name: str) -> None:
    with pytest.raises(RenderingError, match=r"too expensive|more than [\d,]+ parts"):
        render(EXPENSIVE[name], AVATAR, max_seconds=LIMIT)


@pytest.mark.usefixtures("never_decodes")
@pytest.mark.parametrize(
    "options",
    [
        "width=4000,height=4000,fit=pad",
        "width=2000,fit=scale-up,blur=250",
        "width=600,format=webp,quality=100",
        "width=900,format=png,quality=80",
        "trim=border,width=3000,fit=scale-up",
    ],
)
def test_the_result_counts_as_well_as_the_source(options: str) -> None:
    source = plain((900, 900), kind="JPEG")
    with pytest.raises(RenderingError, match=r"\d\.\d\d s of CPU are expected, and 0\.3 s are allowed"):
        render(source, Transform.parse(options), max_seconds=LIMIT)


def test_a_photo_of_twelve_megapixels_is_rendered() -> None:
    source = saved(bands((255, 0, 0), (0, 255, 0), size=(2000, 3000)), "JPEG")
    assert opened(render(source, AVATAR, accept=BEST, max_seconds=LIMIT)).size == (240, 240)
    assert opened(render(source, PUBLIC, accept=BEST, max_seconds=LIMIT)).size == (1024, 768)


def test_without_a_limit_nothing_is_refused() -> None:
    assert opened(render(gif(before=b"!\xfe\0" * 60_001), AVATAR)).size == (240, 240)


def test_where_the_best_format_takes_too_long_it_is_another() -> None:
    source = plain((1200, 700), kind="JPEG")
    assert render(source, PUBLIC, accept=BEST, max_seconds=5).content_type == "image/avif"
    assert render(source, PUBLIC, accept=BEST, max_seconds=0.15).content_type == "image/jpeg"


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_a_short_animation_moves_and_a_long_one_stands_still(kind: str) -> None:
    short = render(animation(kind), AVATAR, accept="image/webp", max_seconds=LIMIT)
    assert getattr(opened(short), "n_frames", 1) == 3
    long = render(animation(kind, size=(4000, 900)), AVATAR, accept="image/webp", max_seconds=LIMIT)
    assert getattr(opened(long), "n_frames", 1) == 1


def test_many_frames_are_neither_counted_nor_decoded() -> None:
    result = render(gif(frames=3000), AVATAR, max_seconds=LIMIT)
    assert getattr(opened(result), "n_frames", 1) == 1


def test_no_bitmap_is_returned_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "MAX_ANIMATION_PIXELS", 10)
    source = animation("GIF")
    assert render(source, AVATAR).body == source, "as Cloudflare does"
    assert render(source, AVATAR, max_seconds=LIMIT).body != source


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "AVIF", "GIF"])
@pytest.mark.parametrize(
    "options", ["w=100", "w=100,format=json", "trim=border", "trim=1;1;1;1", "rotate=90"]
)
def test_within_the_limit_the_result_has_the_same_size(kind: str, options: str) -> None:
    source = saved(Image.frombytes("RGB", (60, 40), os.urandom(7200)), kind)
    limited = render(source, Transform.parse(options), max_seconds=LIMIT)
    whole = render(source, Transform.parse(options))
    assert (limited.width, limited.height, limited.content_type) == (
        whole.width,
        whole.height,
        whole.content_type,
    )


@pytest.mark.parametrize("seed", ["PNG", "JPEG", "WEBP", "AVIF", "GIF"])
def test_damaged_bytes_are_one_error(seed: str) -> None:
    data = saved(bands((255, 0, 0), (0, 0, 255)), seed)
    for length in range(0, len(data), max(1, len(data) // 60)):
        try:
            render(data[:length], AVATAR, max_seconds=LIMIT)
        except RenderingError:
            continue
        assert Image.open(io.BytesIO(data[:length])).size == (60, 30)
