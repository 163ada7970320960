"""The limits and their messages."""

from __future__ import annotations

import io

import pytest

from cf_images.images import MAX_BYTES, ImageInfo, check_limits, limits, validate
from tests.images.builders import (
    SMALL_FILES,
    SVG,
    extents,
    gif,
    heif,
    info,
    jpeg_header,
    picture,
    png_header,
    properties,
    refusal,
    webp_canvas,
)


@pytest.mark.parametrize(
    "accepted",
    [
        info(size=MAX_BYTES),
        info(width=12_000, height=8_333),
        info(width=10_000, height=10_000),
        info("webp", 16_383, 6_000),
        info("gif", 1_000, 1_000, frames=100),
        info("webp", 1_000, 1_000, frames=100),
        info("heic", 12_000, 8_000),
        info("svg", None, None),
        info("svg", 999_999, 999_999),
    ],
)
def test_image_at_its_limit_is_accepted(accepted: ImageInfo) -> None:
    check_limits(accepted)


LIMIT = "the limit is 100 megapixels)."


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        (info(size=MAX_BYTES + 1), "The image file is too large (10.1 MB; the limit is 10 MB)."),
        (
            info("svg", None, None, size=14_200_000),
            "The image file is too large (13.6 MB; the limit is 10 MB).",
        ),
        (
            info("png", 13_000, 400),
            "The image is too large (13,000 x 400 pixels; the limit is 12,000 pixels per side).",
        ),
        (
            info("heic", 3, 12_001),
            "The image is too large (3 x 12,001 pixels; the limit is 12,000 pixels per side).",
        ),
        (
            info("jpeg", 10_001, 10_000),
            f"The image is too large (10,001 x 10,000 pixels, 100.1 megapixels; {LIMIT}",
        ),
        (
            info("webp", 16_000, 8_000),
            f"The image is too large (16,000 x 8,000 pixels, 128 megapixels; {LIMIT}",
        ),
        (
            info("gif", 999, 500, frames=201),
            f"The animation is too large (201 frames of 999 x 500 pixels, 100.4 megapixels; {LIMIT}",
        ),
        (info("avif"), "AVIF images are not supported; save the image as JPEG, PNG or WebP."),
    ],
)
def test_refusal_says_the_limit_and_the_value(refused: ImageInfo, message: str) -> None:
    assert refusal(lambda: check_limits(refused)).replace("\N{MULTIPLICATION SIGN}", "x") == message


def test_avif_is_accepted_where_the_plan_allows_it() -> None:
    check_limits(info("avif", 16_000, 6_000), allow_avif=True)
    assert validate(io.BytesIO(SMALL_FILES["avif"]), allow_avif=True).format == "avif"
    assert "the limit is 100 megapixels" in refusal(
        lambda: check_limits(info("avif", 16_000, 9_000), allow_avif=True)
    )
    assert "AVIF images are not supported" in refusal(lambda: validate(io.BytesIO(SMALL_FILES["avif"])))


@pytest.mark.parametrize(
    ("data", "limit"),
    [
        (png_header(12_001, 1), "12,000 pixels per side"),
        (png_header(2**31 - 1, 2**31 - 1), "12,000 pixels per side"),
        (jpeg_header(65_535, 65_535), "12,000 pixels per side"),
        (jpeg_header(10_001, 10_000), "100 megapixels"),
        (gif(60_000, 1), "12,000 pixels per side"),
        (gif(1_000, 1_000, 101), "100 megapixels"),
        (webp_canvas(2**24, 2**8), "100 megapixels"),
        (webp_canvas(1_000, 1_000, 101), "100 megapixels"),
        (heif(properties(extents(20_000, 10))), "12,000 pixels per side"),
        (SVG + bytes(MAX_BYTES), "the limit is 10 MB"),
    ],
)
def test_file_over_a_limit_is_refused_by_its_header_alone(data: bytes, limit: str) -> None:
    assert limit in refusal(lambda: validate(io.BytesIO(data)))


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_animation_is_refused_by_the_sum_of_its_frames(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_AREA", 1_000_000)
    for frames, refused in ((55, False), (56, True)):
        data = picture(kind, size=(150, 120), frames=frames)
        if refused:
            assert "56 frames of 150" in refusal(lambda data=data: validate(io.BytesIO(data)))
        else:
            assert validate(io.BytesIO(data)).frames == 55


def test_apng_counts_as_one_image() -> None:
    assert validate(io.BytesIO(picture("PNG", frames=3))).frames == 1


def test_valid_image_is_validated_in_place() -> None:
    file = io.BytesIO(picture("JPEG"))
    file.seek(4)
    assert validate(file) == ImageInfo(format="jpeg", size=len(file.getvalue()), width=37, height=23)
    assert file.tell() == 4
