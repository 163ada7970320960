"""What comes out: upright, in the right colors, in the right format, still or moving."""

from __future__ import annotations

import io
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import ExifTags, Image, ImageCms, ImageSequence

from cf_images import rendering
from cf_images.rendering import RenderingError, Transform, encoding, render, sources
from tests.images.builders import HEIC

from .pictures import (
    BLUE,
    GREEN,
    RED,
    WHITE,
    animation,
    bands,
    corner_colors,
    corners,
    frames,
    looks_like,
    opened,
    plain,
    saved,
)

CHROME = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"
BLACK, GRAY = (0, 0, 0), (128, 128, 128)


def shown(source: bytes, options: str = "w=1000", **arguments: Any) -> Image.Image:
    return opened(render(source, Transform.parse(options), **arguments))


# -- sources --------------------------------------------------------------------------------------


# What EXIF 2.3 says of the first row and column: 1 top, left; 2 top, right; 3 bottom, right; 4 bottom, left;
# 5 left, top; 6 right, top; 7 right, bottom; 8 left, bottom.
UPRIGHT = {
    1: (RED, GREEN, BLUE, WHITE),
    2: (GREEN, RED, WHITE, BLUE),
    3: (WHITE, BLUE, GREEN, RED),
    4: (BLUE, WHITE, RED, GREEN),
    5: (RED, BLUE, GREEN, WHITE),
    6: (BLUE, RED, WHITE, GREEN),
    7: (WHITE, GREEN, BLUE, RED),
    8: (GREEN, WHITE, RED, BLUE),
}


def with_orientation(orientation: int, kind: str, size: tuple[int, int] = (64, 32)) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.Copyright] = "Jane"
    return saved(corners(size), kind, exif=exif)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("metadata", ["keep", "none"])
def test_orientation_is_applied_whatever_becomes_of_the_metadata(
    orientation: int, kind: str, metadata: str
) -> None:
    image = shown(with_orientation(orientation, kind), f"metadata={metadata}")
    assert image.size == ((64, 32) if orientation < 5 else (32, 64))
    colors = zip(corner_colors(image), UPRIGHT[orientation], strict=True)
    assert all(looks_like(color, expected, tolerance=60) for color, expected in colors)
    assert ExifTags.Base.Orientation not in image.getexif()


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_a_reduced_photo_is_upright_too(orientation: int) -> None:
    image = shown(with_orientation(orientation, "JPEG", (640, 320)), "w=40,h=40,fit=squeeze")
    assert image.size == (40, 40)
    colors = zip(corner_colors(image), UPRIGHT[orientation], strict=True)
    assert all(looks_like(color, expected, tolerance=60) for color, expected in colors)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_unknown_orientation_is_none(orientation: int) -> None:
    assert shown(with_orientation(orientation, "JPEG")).size == (64, 32)


def test_trim_counts_from_the_sides_of_the_upright_image() -> None:
    image = shown(with_orientation(6, "PNG"), "trim.width=16,trim.height=32")
    assert corner_colors(image) == (BLUE,) * 4


def test_a_photo_is_decoded_no_finer_than_needed() -> None:
    data = plain((1600, 1200), kind="JPEG")
    source = sources.open_source(data, "image/jpeg", max_pixels=10_000_000)
    assert source.first(at_least=(200, 150)).size == (400, 300)


def test_a_photo_on_its_side_is_decoded_no_finer_than_needed() -> None:
    data = with_orientation(6, "JPEG", (1600, 400))
    source = sources.open_source(data, "image/jpeg", max_pixels=10_000_000)
    assert source.size == (400, 1600)
    assert source.first(at_least=(50, 200)).size == (100, 400)


def test_a_reduced_photo_is_cropped_at_the_same_place() -> None:
    source = saved(bands(RED, GREEN, BLUE, size=(400, 400)), "JPEG")
    image = shown(source, "w=40,h=40,fit=cover,gravity=right")
    assert all(looks_like(color, BLUE) for color in corner_colors(image))


def test_trim_of_a_photo_lets_nothing_of_the_border_in() -> None:
    source = saved(bands(WHITE, BLUE, WHITE, size=(160, 160)), "JPEG", quality=100, subsampling=0)
    image = shown(source, "trim=0;160;0;160,w=10")
    assert looks_like(image.getpixel((0, 5)), BLUE, tolerance=10)


def sixteen_bits(value: int) -> bytes:
    return saved(Image.new("I;16", (8, 8), value))


def palette(*, transparent: bool = False) -> bytes:
    image = bands(RED, GREEN).quantize(4)
    index = image.getpixel((0, 0))
    return saved(image, "PNG", **({"transparency": index} if transparent else {}))


@pytest.mark.parametrize(
    ("source", "pixel"),
    [
        (plain((8, 8), 1, mode="1"), WHITE),
        (plain((8, 8), 128, mode="L"), GRAY),
        (plain((8, 8), (128, 255), mode="LA"), GRAY),
        (plain((8, 8), (128, 64), mode="LA"), (*GRAY, 64)),
        (plain((8, 8), (255, 0, 0, 255), mode="RGBA"), RED),
        (plain((8, 8), (255, 0, 0, 64), mode="RGBA"), (*RED, 64)),
        (plain((8, 8), (0, 255, 255, 0), mode="CMYK", kind="JPEG"), RED),
        (plain((8, 8), 200, mode="L", kind="JPEG"), (200, 200, 200)),
        (sixteen_bits(0x8000), GRAY),
        (sixteen_bits(0xFFFF), WHITE),
        (palette(), RED),
        (plain((8, 8), (0, 0, 255), kind="WEBP"), BLUE),
        (plain((8, 8), (0, 0, 255), kind="AVIF"), BLUE),
        (plain((8, 8), (0, 0, 255), kind="GIF"), BLUE),
    ],
)
def test_every_mode_shows_its_color(source: bytes, pixel: tuple[int, ...]) -> None:
    image = shown(source, "format=png")
    assert image.mode == ("RGB" if len(pixel) == 3 else "RGBA")
    assert looks_like(image.getpixel((2, 2)), pixel, tolerance=4)


def test_a_transparent_palette_entry_is_transparent() -> None:
    image = shown(palette(transparent=True))
    assert image.getpixel((0, 0))[3] == 0  # type: ignore[index]
    assert image.getpixel((40, 0)) == (*GREEN, 255)


def test_a_palette_with_levels_of_transparency_keeps_them() -> None:
    source = saved(bands(RED, GREEN).quantize(2), "PNG", transparency=bytes([100, 200]))
    alphas = shown(source).getchannel("A").getextrema()
    assert alphas == (100, 200)


@pytest.mark.parametrize("mode", ["L", "RGB", "I;16"])
def test_a_transparent_color_is_transparent(mode: str) -> None:
    color: Any = {"L": 255, "RGB": WHITE, "I;16": 0x8000}[mode]
    image = Image.new(mode, (8, 8), 0)
    for y in range(8):
        for x in range(4):
            image.putpixel((x, y), color)
    rendered = shown(saved(image, "PNG", transparency=color))
    assert [rendered.getpixel((x, 4))[3] for x in (1, 6)] == [0, 255]  # type: ignore[index]


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
# Red and blue exchanged: whoever applies this profile sees it.
SWAPPED = SRGB.replace(b"rXYZ", b"swap").replace(b"bXYZ", b"rXYZ").replace(b"swap", b"bXYZ")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_the_color_profile_is_applied_and_dropped(kind: str) -> None:
    source = saved(Image.new("RGB", (16, 16), RED), kind, icc_profile=SWAPPED)
    image = shown(source, "metadata=keep")
    assert looks_like(image.getpixel((8, 8)), BLUE, tolerance=40)
    assert "icc_profile" not in image.info


def test_the_color_profile_is_applied_under_transparency() -> None:
    source = saved(Image.new("RGBA", (16, 16), (*RED, 100)), icc_profile=SWAPPED)
    assert looks_like(shown(source).getpixel((8, 8)), (*BLUE, 100), tolerance=40)


@pytest.mark.parametrize("profile", [b"junk", SRGB[:200]])
def test_a_damaged_color_profile_is_ignored(profile: bytes) -> None:
    source = saved(Image.new("RGB", (16, 16), RED), icc_profile=profile)
    assert shown(source).getpixel((8, 8)) == RED


def test_a_color_profile_for_other_channels_is_ignored() -> None:
    source = saved(Image.new("L", (16, 16), 100), icc_profile=SRGB)
    assert shown(source).getpixel((8, 8)) == (100, 100, 100)


SVG = b'\xef\xbb\xbf<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg" width="9"/>'


@pytest.mark.parametrize("options", ["w=5,fit=cover,rotate=90", "format=webp", "format=json"])
def test_svg_comes_back_untouched(options: str) -> None:
    result = render(SVG, Transform.parse(options), accept=CHROME)
    assert (result.body, result.content_type) == (SVG, "image/svg+xml")
    assert (result.width, result.height, result.warnings) == (0, 0, ())


# -- formats --------------------------------------------------------------------------------------

OPAQUE_JPEG, OPAQUE_PNG = plain((60, 60), kind="JPEG"), plain((60, 60))
SEE_THROUGH = plain((60, 60), (255, 0, 0, 100), mode="RGBA", kind="WEBP")


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (CHROME, ["image/avif", "image/webp"]),
        ("image/webp,image/avif", ["image/avif", "image/webp"]),
        ("image/webp,*/*", ["image/webp"]),
        ("IMAGE/WEBP", ["image/webp"]),
        ("image/webp;q=0.9,image/avif;q=0.5", ["image/webp", "image/avif"]),
        ("image/avif;q=0, image/webp ; level=1 ; q=0.2", ["image/webp"]),
        ("image/avif;q=0.0,image/webp;q=0", []),
        ("image/avif;q=nan,image/webp;q=high", ["image/webp"]),
        ("image/*,*/*;q=0.8", []),
        ("image/webpx", []),
        ("", []),
        (";;,,=", []),
    ],
)
def test_accept_names_what_the_browser_shows(accept: str, expected: list[str]) -> None:
    assert encoding.accepted(accept) == expected


@pytest.mark.parametrize(
    ("source", "options", "accept", "expected"),
    [
        (OPAQUE_JPEG, "w=60", CHROME, "image/avif"),
        (OPAQUE_JPEG, "w=60", "image/webp", "image/webp"),
        (OPAQUE_JPEG, "w=60", "*/*", "image/jpeg"),
        (OPAQUE_PNG, "w=60", "*/*", "image/png"),
        (OPAQUE_PNG, "w=60", "image/webp", "image/webp"),
        (SEE_THROUGH, "w=60", "*/*", "image/png"),
        (SEE_THROUGH, "w=60,background=red", "*/*", "image/jpeg"),
        (OPAQUE_JPEG, "format=avif", "", "image/avif"),
        (OPAQUE_JPEG, "format=webp", CHROME, "image/webp"),
        (OPAQUE_JPEG, "format=jpeg", CHROME, "image/jpeg"),
        (OPAQUE_PNG, "format=baseline-jpeg", CHROME, "image/jpeg"),
        (OPAQUE_JPEG, "format=png", CHROME, "image/png"),
        (OPAQUE_JPEG, "compression=fast", CHROME, "image/jpeg"),
        (OPAQUE_JPEG, "compression=fast,format=webp", CHROME, "image/jpeg"),
        (SEE_THROUGH, "compression=fast", CHROME, "image/png"),
        (OPAQUE_JPEG, "w=1200,h=90,fit=pad", CHROME, "image/avif"),
        (OPAQUE_JPEG, "w=1201,h=90,fit=pad", CHROME, "image/webp"),
        (OPAQUE_JPEG, "w=90,h=1201,fit=pad", "image/avif", "image/jpeg"),
    ],
)
def test_the_format_is_negotiated(source: bytes, options: str, accept: str, expected: str) -> None:
    result = render(source, Transform.parse(options), accept=accept)
    assert opened(result).get_format_mimetype() == expected
    assert result.warnings == (() if "png" not in options else result.warnings[:1])


def test_an_avif_that_was_asked_for_and_is_too_large_becomes_webp_with_a_warning() -> None:
    result = render(OPAQUE_JPEG, Transform.parse("format=avif,w=1300,h=60,fit=pad"))
    assert result.content_type == "image/webp"
    assert result.warnings == ('cf-images 299 "image too large for AVIF"',)


def test_png_that_was_asked_for_warns() -> None:
    (warning,) = render(OPAQUE_JPEG, Transform.parse("format=png")).warnings
    assert warning == 'cf-images 299 "png is chosen automatically where it is needed"'


def test_a_pillow_without_avif_and_webp_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding.features, "check", lambda feature: False)
    result = render(OPAQUE_JPEG, Transform.parse("w=60"), accept=CHROME)
    assert result.content_type == "image/jpeg"
    assert result.warnings == tuple(
        f'cf-images 299 "this Pillow cannot write {kind}"' for kind in ("image/avif", "image/webp")
    )
    assert render(animation(), Transform(), accept=CHROME).content_type == "image/gif"


def test_json_tells_the_sizes() -> None:
    source = with_orientation(6, "JPEG", (640, 320))
    result = render(source, Transform.parse("w=80,rotate=90,format=json"))
    assert result.content_type == "application/json"
    assert (result.width, result.height) == (80, 40)
    assert json.loads(result.body) == {
        "width": 80,
        "height": 40,
        "original": {"file_size": len(source), "width": 320, "height": 640, "format": "image/jpeg"},
    }


@pytest.mark.parametrize(
    ("options", "progressive"),
    [
        ("w=50,h=50", True),
        ("w=49,h=50", False),
        ("w=3000,h=3000", True),
        ("w=3001,h=3000", False),
        ("w=60,h=60,format=baseline-jpeg", False),
    ],
)
def test_a_jpeg_is_progressive_unless_small_large_or_baseline(options: str, progressive: bool) -> None:
    image = shown(OPAQUE_JPEG, f"fit=squeeze,{options}")
    assert image.info.get("progressive", 0) == progressive


NOISE = saved(Image.effect_noise((120, 120), 80).convert("RGB"))


@pytest.mark.parametrize("kind", ["jpeg", "webp", "avif"])
def test_quality_costs_bytes_and_is_85_by_default(kind: str) -> None:
    low, default, same, high = (
        len(render(NOISE, Transform.parse(f"format={kind}{quality}")).body)
        for quality in (",q=low", "", ",quality=85", ",q=98")
    )
    assert low < default == same < high


def test_webp_of_quality_100_is_lossless() -> None:
    image = shown(NOISE, "format=webp,quality=100")
    assert image.convert("RGB").tobytes() == Image.open(io.BytesIO(NOISE)).tobytes()


@pytest.mark.parametrize("source", [NOISE, plain((9, 9), (255, 0, 0, 100), mode="RGBA")])
def test_png_with_a_quality_has_a_palette(source: bytes) -> None:
    assert shown(source, "w=200").mode != "P"
    assert shown(source, "w=200,quality=80").mode == "P"


def photo(kind: str = "JPEG", **options: Any) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Copyright] = "Jane"
    exif[ExifTags.Base.Artist] = "Joe"
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.IFD.GPSInfo] = {ExifTags.GPS.GPSLatitudeRef: "N"}
    return saved(bands(RED, GREEN), kind, exif=exif, **options)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("target", ["jpeg", "avif"])
@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ("w=90", {ExifTags.Base.Copyright: "Jane"}),
        ("metadata=copyright", {ExifTags.Base.Copyright: "Jane"}),
        ("metadata=none", {}),
    ],
)
def test_metadata_is_dropped_but_for_the_copyright(
    kind: str, target: str, options: str, kept: dict[int, str]
) -> None:
    assert dict(shown(photo(kind), f"format={target},{options}").getexif()) == kept


@pytest.mark.parametrize("target", ["jpeg", "avif"])
def test_metadata_is_kept_but_for_the_orientation(target: str) -> None:
    exif = shown(photo(), f"format={target},metadata=keep").getexif()
    assert set(exif) == {ExifTags.Base.Copyright, ExifTags.Base.Artist, ExifTags.IFD.GPSInfo}
    assert exif.get_ifd(ExifTags.IFD.GPSInfo) == {ExifTags.GPS.GPSLatitudeRef: "N"}


@pytest.mark.parametrize("target", ["webp", "png"])
def test_webp_and_png_never_carry_metadata(target: str) -> None:
    assert not shown(photo(), f"format={target},metadata=keep").getexif()


def test_a_comment_is_no_metadata_to_keep() -> None:
    assert "comment" not in shown(photo(comment=b"taken at home"), "metadata=keep").info


def test_exif_too_large_for_a_jpeg_is_dropped() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = "x" * 70_000
    assert not shown(saved(bands(RED), "PNG", exif=exif), "format=jpeg,metadata=keep").getexif()


def test_damaged_exif_does_not_cost_the_image() -> None:
    source = saved(corners(), "WEBP", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x09junk")
    assert shown(source, "format=jpeg,metadata=keep").size == (64, 32)


def test_exif_that_cannot_be_written_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    source = photo()
    monkeypatch.setattr(Image.Exif, "tobytes", lambda self: {}["tag"])
    assert not shown(source, "metadata=keep").getexif()


# -- pixels ---------------------------------------------------------------------------------------


def test_pad_centers_on_white() -> None:
    image = shown(saved(bands(RED)), "w=40,h=20,fit=pad")
    assert [image.getpixel((x, 10)) for x in (9, 10, 29, 30)] == [WHITE, RED, RED, WHITE]


def test_pad_takes_a_background() -> None:
    image = shown(saved(bands(RED)), "w=20,h=40,fit=pad,background=%2300f")
    assert [image.getpixel((10, y)) for y in (9, 10, 29, 30)] == [BLUE, RED, RED, BLUE]


def test_pad_may_be_transparent() -> None:
    image = shown(saved(bands(RED)), "w=40,h=20,fit=pad,background=transparent")
    assert [image.getpixel((x, 10)) for x in (9, 10)] == [(0, 0, 0, 0), (*RED, 255)]


def test_background_lies_under_transparency() -> None:
    source = plain((9, 9), (255, 0, 0, 51), mode="RGBA")
    assert shown(source, "background=blue").getpixel((4, 4)) == (51, 0, 204)


def test_background_does_nothing_to_an_opaque_image() -> None:
    assert shown(plain((9, 9)), "background=blue").getpixel((4, 4)) == RED


def test_without_a_background_transparency_stays() -> None:
    source = plain((9, 9), (255, 0, 0, 51), mode="RGBA")
    assert shown(source, "w=9").getpixel((4, 4)) == (255, 0, 0, 51)


def test_jpeg_shows_white_through_transparency() -> None:
    source = plain((9, 9), (0, 0, 0, 0), mode="RGBA")
    assert looks_like(shown(source, "format=jpeg").getpixel((4, 4)), WHITE)


def test_transparent_pixels_do_not_bleed_into_their_neighbors() -> None:
    image = Image.new("RGBA", (40, 40), (*GREEN, 0))
    image.paste((*RED, 255), (0, 0, 20, 40))
    for options in ("w=11", "blur=4"):
        shades = [pixel for pixel in pixels(shown(saved(image), options)) if pixel[3] > 16]
        assert all(looks_like(shade[:3], RED, tolerance=16) for shade in shades)


def pixels(image: Image.Image) -> list[Any]:
    return [image.getpixel((x, y)) for x in range(image.width) for y in range(image.height)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("flip=h", (GREEN, RED, WHITE, BLUE)),
        ("flip=v", (BLUE, WHITE, RED, GREEN)),
        ("flip=hv", (WHITE, BLUE, GREEN, RED)),
        ("rotate=90", (BLUE, RED, WHITE, GREEN)),
        ("rotate=180", (WHITE, BLUE, GREEN, RED)),
        ("rotate=270", (GREEN, WHITE, RED, BLUE)),
        ("flip=h,rotate=90", (WHITE, GREEN, BLUE, RED)),
        ("rotate=0", (RED, GREEN, BLUE, WHITE)),
    ],
)
def test_flip_and_then_rotate_clockwise(options: str, expected: tuple[Any, ...]) -> None:
    assert corner_colors(shown(saved(corners()), options)) == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("brightness=0.5", (100, 50, 25)),
        ("brightness=2", (255, 200, 100)),
        ("brightness=0", (200, 100, 50)),
        ("contrast=0.5", (164, 114, 89)),
        ("contrast=2", (255, 72, 0)),
        ("contrast=0", (200, 100, 50)),
        ("gamma=2", (226, 160, 113)),
        ("gamma=0.5", (157, 39, 10)),
        ("gamma=0", (200, 100, 50)),
        ("saturation=0", (124, 124, 124)),
        ("saturation=1", (200, 100, 50)),
        ("saturation=254", (255, 0, 0)),
    ],
)
@pytest.mark.parametrize("alpha", [255, 77])
def test_colors_are_changed_and_alpha_is_not(options: str, expected: tuple[int, ...], alpha: int) -> None:
    pixel = shown(plain((9, 9), (200, 100, 50, alpha), mode="RGBA"), options).getpixel((4, 4))
    assert looks_like(pixel, expected if alpha == 255 else (*expected, alpha), tolerance=1)


def test_contrast_leaves_the_padding_alone_and_brightness_does_not() -> None:
    padded = "w=40,h=20,fit=pad"
    assert shown(plain((20, 20), GRAY), f"{padded},contrast=0.5").getpixel((0, 0)) == WHITE
    assert shown(plain((20, 20), GRAY), f"{padded},brightness=0.5").getpixel((0, 0)) == GRAY


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_blur_smooths_from_one_on(mode: str) -> None:
    source = saved(bands(BLACK, WHITE).convert(mode))
    assert shown(source, "blur=0.9").getpixel((29, 15)) == BLACK
    assert BLACK < shown(source, "blur=1").getpixel((29, 15)) < GRAY  # type: ignore[operator]
    assert shown(source, "blur=250").getpixel((29, 15)) > BLACK  # type: ignore[operator]


@pytest.mark.parametrize("alpha", [255, 200])
def test_sharpen_steepens_edges(alpha: int) -> None:
    source = bands((100, 100, 100), (150, 150, 150)).convert("RGBA")
    source.putalpha(alpha)
    plain_edge, sharp_edge = (
        shown(saved(source), options).getpixel((29, 15))[0]  # type: ignore[index]
        for options in ("sharpen=0", "sharpen=3")
    )
    assert sharp_edge < plain_edge == 100


def test_trim_border_finds_the_picture() -> None:
    source = Image.new("RGB", (40, 30), (250, 250, 250))
    source.paste((245, 245, 255), (0, 0, 40, 3))  # nearly the color of the corner
    source.paste(RED, (10, 5, 30, 25))
    image = shown(saved(source), "trim=border")
    assert image.size == (20, 20)
    assert set(pixels(image)) == {RED}


def test_trim_border_sees_transparency_as_a_color() -> None:
    source = Image.new("RGBA", (40, 30), (*RED, 0))
    source.paste((*RED, 255), (10, 5, 30, 25))
    assert shown(saved(source), "trim=border").size == (20, 20)


def test_trim_border_of_a_plain_image_leaves_it_whole() -> None:
    assert shown(plain((40, 30)), "trim=border").size == (40, 30)


@pytest.mark.parametrize(
    ("options", "warning"),
    [
        ("segment=foreground", "segment=foreground is not available here: ignored"),
        ("upscale=generate", "upscale=generate is not available here: interpolated"),
    ],
)
def test_what_pillow_cannot_do_falls_back_with_a_warning(options: str, warning: str) -> None:
    assert render(OPAQUE_PNG, Transform.parse(options)).warnings == (f'cf-images 299 "{warning}"',)


# -- animation ------------------------------------------------------------------------------------


def played(result: rendering.Rendering) -> list[tuple[tuple[int, ...], int]]:
    """The middle pixel and the duration of each frame."""
    image = opened(result)
    middle = (image.width // 2, image.height // 2)
    return [
        (frame.convert("RGB").getpixel(middle), frame.info["duration"])  # type: ignore[misc]
        for frame in ImageSequence.Iterator(image)
    ]


@pytest.mark.parametrize("source", ["GIF", "WEBP"])
@pytest.mark.parametrize(("accept", "kind"), [("*/*", "image/gif"), (CHROME, "image/webp")])
def test_an_animation_stays_one(source: str, accept: str, kind: str) -> None:
    result = render(animation(source, size=(40, 20)), Transform.parse("w=20"), accept=accept)
    assert (result.content_type, result.width, result.height) == (kind, 20, 10)
    shown_frames = played(result)
    assert [duration for _color, duration in shown_frames] == [100, 200, 300]
    colors = zip([color for color, _duration in shown_frames], (RED, GREEN, BLUE), strict=True)
    assert all(looks_like(color, expected) for color, expected in colors)


@pytest.mark.parametrize(
    ("source", "loop", "accept", "expected"),
    [
        ("GIF", {"loop": 0}, "", 0),
        ("GIF", {"loop": 3}, "", 3),
        ("GIF", {}, "", None),
        ("GIF", {"loop": 0}, CHROME, 0),
        ("GIF", {"loop": 3}, CHROME, 4),  # repeated three times is shown four times
        ("GIF", {}, CHROME, 1),
        ("WEBP", {"loop": 0}, CHROME, 0),
        ("WEBP", {"loop": 3}, CHROME, 3),
        ("WEBP", {"loop": 0}, "", 0),
        ("WEBP", {"loop": 1}, "", None),
        ("WEBP", {"loop": 4}, "", 3),
    ],
)
def test_an_animation_runs_as_often(
    source: str, loop: dict[str, int], accept: str, expected: int | None
) -> None:
    assert shown(animation(source, **loop), accept=accept).info.get("loop") == expected


@pytest.mark.parametrize("options", ["anim=false", "format=jpeg", "format=png", "format=baseline-jpeg"])
@pytest.mark.parametrize("source", ["GIF", "WEBP"])
def test_a_still_of_an_animation_is_its_first_frame(options: str, source: str) -> None:
    image = shown(animation(source), options)
    assert getattr(image, "n_frames", 1) == 1
    assert looks_like(image.convert("RGB").getpixel((5, 5)), RED)


def test_an_animation_is_avif_never_and_webp_instead() -> None:
    assert render(animation(), Transform.parse("format=avif")).content_type == "image/webp"


def test_lossless_animation() -> None:
    colors = [color for color, _duration in played(render(animation(), Transform.parse("f=webp,q=100")))]
    assert colors == [RED, GREEN, BLUE]


@pytest.mark.parametrize("accept", ["*/*", CHROME])
def test_holes_in_frames_stay_holes(accept: str) -> None:
    """A dot that moves: where it was, nothing is left. Its upper half is a shadow."""
    moving = []
    for left in (0, 10, 20):
        frame = Image.new("RGBA", (30, 10), (0, 0, 0, 0))
        frame.paste((*RED, 255), (left, 0, left + 10, 10))
        frame.paste((*RED, 160), (left, 0, left + 10, 5))
        moving.append(frame)
    source = saved(moving[0], "WEBP", save_all=True, append_images=moving[1:], duration=100, lossless=True)
    result = opened(render(source, Transform.parse("w=30"), accept=accept))
    alphas = [
        tuple(frame.convert("RGBA").getpixel((x, 7))[3] for x in (5, 15, 25))  # type: ignore[index]
        for frame in ImageSequence.Iterator(result)
    ]
    assert alphas == [(255, 0, 0), (0, 255, 0), (0, 0, 255)]


def test_a_gif_frame_beyond_the_screen_enlarges_the_canvas() -> None:
    data = bytearray(animation())
    assert data[6:10] == bytes([20, 0, 10, 0])
    data[6:10] = bytes([10, 0, 5, 0])
    second = data.index(b",", data.index(b",") + 1)
    assert render(bytes(data), Transform()).width == 20
    data[second + 5 : second + 9] = bytes([10, 0, 5, 0])  # the first is larger than the second
    assert render(bytes(data), Transform()).width == 20


def test_a_gif_whose_canvas_grows_later_has_frames_of_one_size() -> None:
    small = animation(size=(10, 5))
    large = animation(size=(20, 10))
    first_end = small.index(b"!\xf9", small.index(b",") + 1)
    second = large.index(b"!\xf9", large.index(b",") + 1)
    result = render(small[:first_end] + large[second:], Transform())
    assert (result.width, result.height) == (20, 10)
    assert len(played(result)) == 3


def test_junk_between_gif_frames_is_skipped() -> None:
    data = animation()
    second = data.index(b"!\xf9", data.index(b",") + 1)
    assert len(played(render(data[:second] + b"\0\0" + data[second:], Transform()))) == 3


def test_large_animations_are_delivered_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "MAX_ANIMATION_PIXELS", 3 * 20 * 10)
    source = animation()
    assert render(source, Transform.parse("w=5")).width == 5
    monkeypatch.setattr(rendering, "MAX_ANIMATION_PIXELS", 3 * 20 * 10 - 1)
    result = render(source, Transform.parse("w=5"), accept=CHROME)
    assert (result.body, result.content_type, result.width, result.height) == (source, "image/gif", 20, 10)
    assert result.warnings == ('cf-images 299 "animation too large, delivered untransformed"',)
    assert render(source, Transform.parse("w=5,anim=false")).width == 5


def test_trim_border_of_an_animation_looks_at_its_first_frame() -> None:
    first, *others = frames(RED, GREEN, BLUE, size=(20, 10))
    first.paste(WHITE, (5, 0, 15, 10))
    source = saved(first, "GIF", save_all=True, append_images=others, duration=100)
    result = render(source, Transform.parse("trim=border"))
    assert (result.width, len(played(result))) == (10, 3)


# -- HEIC, threads ---------------------------------------------------------------------------------


def test_heic_names_what_to_install(without_heic: None) -> None:
    with pytest.raises(RenderingError, match=r"pip install .*\[heic\]") as caught:
        render(HEIC, Transform())
    assert (caught.value.code, caught.value.status) == (9412, 415)


def test_heic_is_rendered_where_pillow_can_read_it() -> None:
    assert shown(HEIC, "w=30").size == (30, 24)


def test_threads_do_not_disturb_each_other() -> None:
    source, transform = NOISE, Transform.parse("w=40,blur=2,q=60,f=webp")
    expected = render(source, transform)
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _index: render(source, transform), range(32))) == {expected}


def test_a_file_is_read_from_where_it_stands(tmp_path: Path) -> None:
    with (tmp_path / "photo.png").open("wb+") as file:
        file.write(b"junk" + OPAQUE_PNG)
        file.seek(4)
        assert render(file, Transform()).width == 60
