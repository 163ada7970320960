"""Whatever the bytes are: a rendering or one error, and no warning."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from cf_images.rendering import InvalidVariantError, Rendering, RenderingError, Transform, render

from .pictures import (
    GREEN,
    RED,
    animation,
    bands,
    corners,
    gif_head,
    jpeg_head,
    plain,
    png_head,
    saved,
    webp_head,
)


def noisy_photo() -> bytes:
    exif = Image.Exif()
    exif[0x0112], exif[0x8298] = 6, "Jane"
    return saved(Image.effect_noise((48, 40), 90).convert("RGB"), "JPEG", exif=exif)


SEEDS = {
    "jpeg": noisy_photo(),
    "cmyk": plain((16, 16), (9, 8, 7, 6), mode="CMYK", kind="JPEG"),
    "png": saved(Image.effect_noise((20, 20), 90)),
    "palette": saved(bands(RED, GREEN).quantize(4), "PNG", transparency=0),
    "gif": animation("GIF"),
    "webp": saved(corners(), "WEBP"),
    "moving": animation("WEBP"),
    "avif": saved(corners(), "AVIF"),
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
}
MP4 = b"\0\0\0\x14ftypmp42\0\0\0\0isom" + b"\0" * 60
EVERYTHING = Transform.parse(
    "w=30,h=20,fit=pad,trim=1;1;1;1,rotate=90,flip=h,metadata=keep,background=rgba(1,2,3,0.5),"
    "contrast=2,brightness=2,gamma=2,saturation=2,blur=2,sharpen=2"
)


@pytest.mark.parametrize(
    "junk", [b"", b"\0", b"junk", b"<html>", b"BM" + b"\0" * 60, b"II*\0" + b"\0" * 60, MP4]
)
def test_an_unsupported_format_is_error_9412(junk: bytes) -> None:
    with pytest.raises(RenderingError) as caught:
        render(junk, Transform())
    assert (caught.value.code, caught.value.status) == (9412, 415)


@pytest.mark.parametrize("name", sorted(SEEDS.keys() - {"svg"}))
def test_a_truncated_image_is_one_error(name: str) -> None:
    data = SEEDS[name]
    with pytest.raises(RenderingError) as caught:
        render(data[: len(data) * 2 // 3], Transform())
    assert (caught.value.code, caught.value.status) == (9516, 422)
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize(
    "bomb",
    [
        png_head(60_000, 60_000),
        png_head(10_001, 10_000),
        jpeg_head(65_000, 65_000),
        jpeg_head(12_000, 9_000),
        gif_head(65_535, 65_535),
        gif_head(1, 1, screen=(65_535, 65_535)),
        gif_head(9_600, 9_600),
        webp_head(16_383, 16_383),
        webp_head(12_000, 9_000),
    ],
)
@pytest.mark.parametrize("options", ["w=10", "format=json"])
def test_a_decompression_bomb_is_refused_by_its_head(bomb: bytes, options: str) -> None:
    with pytest.raises(RenderingError, match="too large") as caught:
        render(bomb, Transform.parse(options))
    assert (caught.value.code, caught.value.status) == (9413, 403)


def test_memory_that_runs_out_is_an_image_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*arguments: Any) -> Any:
        raise MemoryError

    source = plain((9, 9))
    monkeypatch.setattr(Image, "new", no_memory)
    with pytest.raises(RenderingError, match="too large"):
        render(source, Transform.parse("w=20,h=10,fit=pad"))


def test_the_head_of_an_allowed_image_gives_no_warning() -> None:
    """Pillow's own threshold of 89 megapixels lies below Cloudflare's 100."""
    assert render(jpeg_head(10_000, 9_900), Transform.parse("format=json")).width == 10_000


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize(
    "options", ["w=30", "w=20,h=30,fit=cover", "trim=1;1;1;1", "trim=border", "rotate=90"]
)
def test_pillow_never_warns_about_a_size(kind: str, options: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = saved(corners((40, 40)), kind)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # warns from there on, raises at twice as much
    assert render(source, Transform.parse(options)).width


def test_a_gif_that_pillow_would_warn_about_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    source = animation(size=(40, 40))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1600)
    assert render(source, Transform.parse("w=30")).width == 30
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1599)
    with pytest.raises(RenderingError, match="too large"):
        render(source, Transform.parse("w=30"))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert render(source, Transform.parse("w=30")).width == 30


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "AVIF"])
def test_a_source_larger_than_the_callers_limit_is_refused(kind: str) -> None:
    source = plain((40, 40), kind=kind)
    with pytest.raises(RenderingError, match="40x40 is too large: the limit is 1599"):
        render(source, Transform.parse("w=5"), max_pixels=1599)
    assert render(source, Transform.parse("w=5"), max_pixels=1600).width == 5


def test_an_error_in_the_middle_keeps_its_own_words() -> None:
    with pytest.raises(RenderingError, match="trim leaves nothing") as caught:
        render(plain((4, 4)), Transform.parse("trim=4;0;0;0"))
    assert caught.value.code == 9413


def rendered(source: bytes, transform: Transform) -> Rendering | RenderingError:
    """Any other error fails the test."""
    try:
        return render(source, transform, max_pixels=100_000)
    except RenderingError as error:
        return error


def mutated(seed: bytes, changes: list[tuple[int, int]], length: float) -> bytes:
    data = bytearray(seed[: max(1, round(len(seed) * length))])
    for position, value in changes:
        data[position % len(data)] = value
    return bytes(data)


# A machine that is busy with something else is no failure.
patiently = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])

CHANGES = st.lists(st.tuples(st.integers(0, 100_000), st.integers(0, 255)), max_size=8)


@patiently
@given(
    name=st.sampled_from(sorted(SEEDS)),
    changes=CHANGES,
    length=st.sampled_from([1.0, 1.0, 0.99, 0.7, 0.2, 0.05]),
    transform=st.sampled_from([Transform(), EVERYTHING, Transform(width=9, format="jpeg", metadata="keep")]),
)
def test_corrupted_bytes_give_a_rendering_or_one_error(
    name: str, changes: list[tuple[int, int]], length: float, transform: Transform
) -> None:
    outcome = rendered(mutated(SEEDS[name], changes, length), transform)
    assert isinstance(outcome, Rendering) or outcome.code in (9412, 9413, 9516)


@patiently
@given(data=st.binary(max_size=300), name=st.sampled_from(sorted(SEEDS)))
def test_any_bytes_after_a_good_beginning_give_a_rendering_or_one_error(data: bytes, name: str) -> None:
    assert rendered(SEEDS[name][:40] + data, EVERYTHING)


NUMBERS = st.sampled_from(["1", "7", "40", "1e9", "0.5", "-1", "nan", "", "250", "0", "100", "x"])
OPTION = st.one_of(
    st.builds(
        "{}={}".format,
        st.sampled_from(
            ["w", "h", "dpr", "blur", "sharpen", "gamma", "q", "trim.left", "trim.width", "contrast"]
        ),
        NUMBERS,
    ),
    st.sampled_from(
        [
            *(
                "fit=cover",
                "fit=contain",
                "fit=pad",
                "fit=crop",
                "fit=aspect-crop",
                "fit=squeeze",
                "fit=scale-up",
            ),
            *("g=left", "g=0.3x1", "g=auto", "rotate=90", "flip=hv", "trim=border", "trim=3;2;1;0"),
            *("f=webp", "f=avif", "f=jpeg", "f=png", "f=json", "background=red", "anim=false"),
        ]
    ),
)


@patiently
@given(options=st.lists(OPTION, min_size=1, max_size=6), name=st.sampled_from(["jpeg", "palette", "gif"]))
def test_any_options_give_a_rendering_or_one_error(options: list[str], name: str) -> None:
    try:
        transform = Transform.parse(",".join(options))
    except InvalidVariantError:
        return
    outcome = rendered(SEEDS[name], transform)
    assert isinstance(outcome, RenderingError) or max(outcome.width, outcome.height) <= 12_000
