"""Reducing what is over a limit."""

from __future__ import annotations

import io
import math
import random
import subprocess
import sys
from typing import Any

import pytest
from PIL import Image, ImageCms, ImageOps, features

from cf_images.exceptions import ImageRejectedError
from cf_images.images import (
    MAX_BYTES,
    ImageInfo,
    can_be_reduced,
    check_limits,
    fit_limits,
    fitting,
    inspect,
    limits,
)
from tests.images.builders import (
    EXIF,
    HEIC,
    SMALL_FILES,
    SVG,
    gif,
    info,
    jpeg_header,
    noise,
    oriented,
    picture,
    png_header,
    refusal,
    webp_canvas,
)


def fitted(data: bytes, **options: Any) -> tuple[Image.Image, ImageInfo]:
    """The reduced image, decoded; checks what is true of each."""
    file = io.BytesIO(data)
    file.seek(2)
    reduced, found = fit_limits(file, **options)
    assert reduced is not file
    assert not file.closed
    assert file.tell() == 2
    assert reduced.tell() == 0
    assert inspect(reduced) == found
    check_limits(found)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # for the test's own decoding
        image = Image.open(reduced)
        image.load()
    assert image.size == (found.width, found.height)
    return image, found


@pytest.fixture
def profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()


@pytest.fixture
def small_limit(monkeypatch: pytest.MonkeyPatch) -> int:
    """Lower the byte limit to 40 KB: the same rules for less work."""
    monkeypatch.setattr(limits, "MAX_BYTES", 40_000)
    return 40_000


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def with_red_corner(image: Image.Image) -> Image.Image:
    """Red in the stored top left quarter."""
    image.paste((255, 0, 0), (0, 0, image.width // 2, image.height // 2))
    return image


def is_red(image: Image.Image, x: float, y: float) -> bool:
    """Whether the surroundings of a point, given in parts of the image, are."""
    rgb = image.convert("RGB").resize((8, 8), Image.Resampling.BOX)
    red, green, blue = rgb.getpixel((int(x * 8), int(y * 8)))  # type: ignore[misc]
    return red > 200 and green < 60 and blue < 60


def test_file_within_the_limits_comes_back_untouched() -> None:
    file = io.BytesIO(picture("JPEG"))
    file.seek(3)
    same, found = fit_limits(file)
    assert same is file
    assert file.tell() == 3
    assert found == inspect(file)


def test_pillow_is_not_imported_for_what_needs_no_reducing() -> None:
    code = (
        "import io, sys; from cf_images import images;"
        f"images.fit_limits(io.BytesIO({SMALL_FILES['jpeg']!r}));"
        "assert not {'PIL', 'django', 'httpx'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_photo_of_fourteen_megabytes_keeps_orientation_and_color_profile(profile: bytes) -> None:
    data = encoded(with_red_corner(noise(4_400, 2_900)), "JPEG", exif=EXIF, quality=98, icc_profile=profile)
    assert len(data) > 14 * 1000 * 1000
    image, found = fitted(data)
    assert (found.format, found.width, found.height) == ("jpeg", 2_900, 4_400)
    assert found.size <= MAX_BYTES
    assert image.info["icc_profile"] == profile
    assert image.getexif().get(0x0112, 1) == 1
    assert is_red(image, 0.9, 0.1)  # orientation 6: the stored top left is shown at the top right
    assert not is_red(image, 0.1, 0.1)


@pytest.mark.usefixtures("small_limit")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_reduced_image_looks_as_a_viewer_showed_the_original(kind: str, orientation: int) -> None:
    source = with_red_corner(noise(300, 200))
    data = encoded(source, kind, exif=oriented(orientation), quality=100)
    before = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    image, found = fitted(data)
    after = ImageOps.exif_transpose(image)
    assert found.format == kind.lower()
    assert math.isclose(after.width / after.height, before.width / before.height, rel_tol=0.02)
    for point in [(0.1, 0.1), (0.9, 0.1), (0.1, 0.9), (0.9, 0.9)]:
        assert is_red(after, *point) == is_red(before, *point)


def test_wide_png_with_alpha_is_brought_to_twelve_thousand_pixels() -> None:
    source = Image.new("RGBA", (13_000, 260), (0, 255, 0, 100))
    source.paste((0, 0, 0, 0), (0, 0, 6_500, 260))
    image, found = fitted(encoded(source, "PNG"))
    assert (found.format, found.width, found.height, image.mode) == ("png", 12_000, 240, "RGBA")
    assert image.getpixel((100, 100)) == (0, 0, 0, 0)
    assert image.getpixel((11_900, 100)) == (0, 255, 0, 100)


def test_jpeg_of_120_megapixels_is_brought_to_100() -> None:
    image, found = fitted(encoded(Image.new("L", (12_000, 10_000), 77), "JPEG", quality=20))
    assert (found.format, image.mode) == ("jpeg", "L")
    assert image.getpixel((5_000, 5_000)) == pytest.approx(77, abs=2)
    assert found.width is not None
    assert found.height is not None
    assert 99_900_000 < found.width * found.height <= 100_000_000
    assert math.isclose(found.width / found.height, 1.2, rel_tol=0.001)


def test_decoder_scales_a_much_larger_jpeg_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    data = picture("JPEG", size=(1_000, 500))
    resized = []

    def resize(image: Image.Image, *args: Any, **options: Any) -> Image.Image:
        resized.append(image.size)
        return original(image, *args, **options)

    original = Image.Image.resize
    monkeypatch.setattr(Image.Image, "resize", resize)
    monkeypatch.setattr(limits, "MAX_SIDE", 100)
    _, found = fit_limits(io.BytesIO(data))
    assert (found.width, found.height) == (100, 50)
    assert resized == [(125, 63)]


@pytest.mark.parametrize(("width", "height", "shape"), [(40_000, 2, (12_000, 1)), (1, 30_000, (1, 12_000))])
def test_thin_image_keeps_at_least_one_pixel(width: int, height: int, shape: tuple[int, int]) -> None:
    assert fitted(picture("PNG", "L", (width, height)))[0].size == shape


@pytest.mark.usefixtures("small_limit")
@pytest.mark.parametrize(
    ("kind", "mode", "reduced_format", "reduced_mode"),
    [
        ("JPEG", "L", "jpeg", "L"),
        ("JPEG", "RGB", "jpeg", "RGB"),
        ("JPEG", "CMYK", "jpeg", "CMYK"),
        ("MPO", "RGB", "jpeg", "RGB"),
        ("PNG", "L", "png", "L"),
        ("PNG", "LA", "png", "LA"),
        ("PNG", "RGB", "png", "RGB"),
        ("PNG", "RGBA", "png", "RGBA"),
        ("WEBP", "RGB", "webp", "RGB"),
        ("WEBP", "RGBA", "webp", "RGBA"),
        ("AVIF", "RGB", "jpeg", "RGB"),
        ("AVIF", "RGBA", "png", "RGBA"),
    ],
)
def test_format_mode_and_profile_are_kept_where_possible(
    kind: str, mode: str, reduced_format: str, reduced_mode: str, profile: bytes
) -> None:
    size = (240, 200) if len(mode) > 2 else (400, 300)
    channels = [noise(*size, "L", seed=seed) for seed in range(1 if mode == "L" else len(mode))]
    more: dict[str, Any] = {"save_all": True, "append_images": [channels[0]]} if kind == "MPO" else {}
    data = encoded(Image.merge(mode, channels), kind, quality=100, icc_profile=profile, **more)
    image, found = fitted(data, allow_avif=True)
    assert (found.format, image.mode) == (reduced_format, reduced_mode)
    assert image.info["icc_profile"] == profile


@pytest.mark.usefixtures("small_limit")
@pytest.mark.parametrize(("mode", "reduced"), [("1", "L"), ("P", "RGB"), ("I;16", "I;16")])
def test_png_of_a_rare_mode_is_reduced_smoothly(mode: str, reduced: str) -> None:
    data = random.Random(1).randbytes(900 * 900 * 2)
    source = {
        "1": lambda: Image.frombytes("1", (900, 896), data[: 113 * 896]),
        "P": lambda: noise(300, 300, "L").convert("P"),
        "I;16": lambda: Image.frombytes("I;16", (300, 200), data[: 300 * 200 * 2]),
    }[mode]()
    assert fitted(encoded(source, "PNG"))[0].mode == reduced


@pytest.mark.usefixtures("small_limit")
@pytest.mark.parametrize(
    ("kind", "mode", "reduced_mode"),
    [("PNG", "P", "RGBA"), ("PNG", "L", "LA"), ("PNG", "RGB", "RGBA"), ("GIF", "P", "RGBA")],
)
def test_transparent_color_becomes_an_alpha_channel(kind: str, mode: str, reduced_mode: str) -> None:
    key: Any = (0, 0, 0) if mode == "RGB" else 0
    source = noise(300, 300, "P" if mode == "P" else mode).point(lambda value: value | 1)
    if mode == "P":
        source.putpalette(random.Random(5).randbytes(768))
    source.paste(key, (0, 0, 150, 150))
    image, found = fitted(encoded(source, kind, transparency=key))
    assert (found.format, image.mode) == ("png", reduced_mode)
    alpha = image.getchannel("A")
    assert alpha.getpixel((3, 3)) == 0
    assert alpha.getpixel((image.width - 9, image.height - 9)) == 255


@pytest.mark.usefixtures("small_limit")
def test_still_gif_becomes_a_png() -> None:
    assert fitted(encoded(noise(300, 300, "L"), "GIF"))[1].format == "png"


@pytest.mark.usefixtures("small_limit")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    "exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\0\0", EXIF.replace(b"\x01\x12\0\x03", b"\x01\x12\0\x02")]
)
def test_broken_exif_does_not_keep_an_image_from_being_reduced(kind: str, exif: bytes) -> None:
    image, _ = fitted(encoded(noise(300, 200), kind, exif=exif, quality=100))
    assert image.width > image.height


@pytest.mark.usefixtures("small_limit")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_other_metadata_is_dropped(kind: str) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Maker of cameras"
    data = encoded(noise(300, 200), kind, exif=exif.tobytes(), comment=b"Maker of cameras", quality=100)
    assert b"Maker of cameras" in data
    reduced, _ = fit_limits(io.BytesIO(data))
    assert b"Maker of cameras" not in reduced.read()


def test_avif_that_the_plan_does_not_allow_is_converted() -> None:
    _, found = fitted(SMALL_FILES["avif"])
    assert (found.format, found.width, found.height) == ("jpeg", 9, 7)
    file = io.BytesIO(SMALL_FILES["avif"])
    assert fit_limits(file, allow_avif=True)[0] is file


def test_heic_is_reduced_where_pillow_can_read_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_SIDE", 40)
    assert can_be_reduced(info("heic"))
    _, found = fitted(HEIC)
    assert (found.format, found.width, found.height) == ("jpeg", 40, 32)


def test_heic_that_pillow_cannot_read_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, without_heic: None
) -> None:
    monkeypatch.setattr(limits, "MAX_SIDE", 40)
    assert not can_be_reduced(info("heic"))
    with pytest.raises(ImageRejectedError, match=r"40 pixels per side.*pip install .*\[heic\]"):
        fitted(HEIC)


@pytest.mark.parametrize(
    ("data", "limit"),
    [
        (gif(1_000, 1_000, 101), "101 frames"),
        (webp_canvas(1_000, 1_000, 101), "101 frames"),
        (SVG + bytes(MAX_BYTES), "the limit is 10 MB"),
        (png_header(20_000, 10_001), "12,000 pixels per side"),
        (jpeg_header(65_535, 65_535), "12,000 pixels per side"),
    ],
)
def test_what_cannot_be_reduced_is_refused_by_its_limit(
    data: bytes, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "_reencode", lambda *_: pytest.fail("it was decoded"))
    file = io.BytesIO(data)
    assert limit in refusal(lambda: fit_limits(file))
    assert not can_be_reduced(inspect(file))


@pytest.mark.parametrize("kind", ["PNG", "AVIF"])
def test_animation_that_cloudflare_would_keep_is_not_reduced_to_one_frame(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_SIDE", 20)
    monkeypatch.setattr(limits, "MAX_AREA", 400)
    refusal(lambda: fit_limits(io.BytesIO(picture(kind, frames=2)), allow_avif=True))


def test_damaged_image_over_the_limits_is_refused_with_both_reasons() -> None:
    data = picture("PNG", "L", (13_000, 20))
    file = io.BytesIO(data[: len(data) // 2])
    message = refusal(lambda: fit_limits(file))
    assert message.endswith(
        "12,000 pixels per side). It cannot be reduced: it is damaged or takes too much memory."
    )
    assert "13,000" in message
    assert file.tell() == 0


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_color_profile_that_is_too_large_by_itself_ends_in_a_refusal(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_BYTES", 3_000)
    data = picture(kind, icc_profile=random.Random(3).randbytes(4_000))
    assert "the limit is" in refusal(lambda: fit_limits(io.BytesIO(data)))


def test_pillow_can_read_and_write_what_these_tests_are_about() -> None:
    assert features.check("webp")
    assert features.check("avif")
