"""Every fit, to the pixel, against sizes worked out by hand."""

from __future__ import annotations

import functools
import json

import pytest
from PIL import Image

from cf_images.rendering import RenderingError, Transform, render

from .pictures import BLUE, GREEN, RED, bands, corner_colors, corners, opened, plain, saved

LANDSCAPE, PORTRAIT, SQUARE, SMALL = (1080, 720), (720, 1080), (900, 900), (300, 200)
SOURCES = (LANDSCAPE, PORTRAIT, SQUARE, SMALL)
SHRINKING, BOTH_WAYS, GROWING = (
    ("scale-down", "crop", "aspect-crop"),
    ("contain", "cover", "pad", "squeeze"),
    ("scale-up",),
)

# Columns are LANDSCAPE, PORTRAIT, SQUARE, SMALL.
WHOLE_BOX = [(500, 400)] * 4
WHOLE_BOX_2X = [(1000, 800)] * 4
IN_A_BOX = {  # w=500,h=400
    ("scale-down", 1): [(500, 333), (267, 400), (400, 400), (300, 200)],
    ("contain", 1): [(500, 333), (267, 400), (400, 400), (500, 333)],
    ("cover", 1): WHOLE_BOX,
    ("crop", 1): [(500, 400), (500, 400), (500, 400), (300, 200)],
    ("aspect-crop", 1): [(500, 400), (500, 400), (500, 400), (250, 200)],
    ("pad", 1): WHOLE_BOX,
    ("squeeze", 1): WHOLE_BOX,
    ("scale-up", 1): [(1080, 720), (720, 1080), (900, 900), (500, 333)],
    ("scale-down", 2): [(1000, 667), (533, 800), (800, 800), (300, 200)],
    ("contain", 2): [(1000, 667), (533, 800), (800, 800), (1000, 667)],
    ("cover", 2): WHOLE_BOX_2X,
    ("crop", 2): [(1000, 720), (720, 800), (900, 800), (300, 200)],
    ("aspect-crop", 2): [(900, 720), (720, 576), (900, 720), (250, 200)],
    ("pad", 2): WHOLE_BOX_2X,
    ("squeeze", 2): WHOLE_BOX_2X,
    ("scale-up", 2): [(1080, 720), (720, 1080), (900, 900), (1000, 667)],
}
BY_ONE_SIDE = {
    ("w=500", 1, SHRINKING): [(500, 333), (500, 750), (500, 500), (300, 200)],
    ("w=500", 1, BOTH_WAYS): [(500, 333), (500, 750), (500, 500), (500, 333)],
    ("w=500", 1, GROWING): [(1080, 720), (720, 1080), (900, 900), (500, 333)],
    ("w=500", 2, SHRINKING): [(1000, 667), (720, 1080), (900, 900), (300, 200)],
    ("w=500", 2, BOTH_WAYS): [(1000, 667), (1000, 1500), (1000, 1000), (1000, 667)],
    ("w=500", 2, GROWING): [(1080, 720), (1000, 1500), (1000, 1000), (1000, 667)],
    ("h=400", 1, SHRINKING): [(600, 400), (267, 400), (400, 400), (300, 200)],
    ("h=400", 1, BOTH_WAYS): [(600, 400), (267, 400), (400, 400), (600, 400)],
    ("h=400", 1, GROWING): [(1080, 720), (720, 1080), (900, 900), (600, 400)],
    ("h=400", 2, SHRINKING): [(1080, 720), (533, 800), (800, 800), (300, 200)],
    ("h=400", 2, BOTH_WAYS): [(1200, 800), (533, 800), (800, 800), (1200, 800)],
    ("h=400", 2, GROWING): [(1200, 800), (720, 1080), (900, 900), (1200, 800)],
}
CASES = [
    ("w=500,h=400", fit, dpr, source, size)
    for (fit, dpr), sizes in IN_A_BOX.items()
    for source, size in zip(SOURCES, sizes, strict=True)
] + [
    (sides, fit, dpr, source, size)
    for (sides, dpr, fits), sizes in BY_ONE_SIDE.items()
    for fit in fits
    for source, size in zip(SOURCES, sizes, strict=True)
]

plain = functools.cache(plain)


def size_of(source: tuple[int, int], options: str) -> tuple[int, int]:
    described = json.loads(render(plain(source), Transform.parse(f"{options},format=json")).body)
    return described["width"], described["height"]


@pytest.mark.parametrize(("sides", "fit", "dpr", "source", "size"), CASES)
def test_every_fit_has_its_size(
    sides: str, fit: str, dpr: int, source: tuple[int, int], size: tuple[int, int]
) -> None:
    rendering = render(plain(source, kind="JPEG"), Transform.parse(f"{sides},fit={fit},dpr={dpr}"))
    assert opened(rendering).size == size


@pytest.mark.parametrize(
    ("source", "options", "size"),
    [
        ((1080, 720), "w=500,h=500", (500, 333)),
        ((1080, 720), "w=2000,h=2000", (1080, 720)),
        ((1080, 720), "w=500,h=500,fit=cover", (500, 500)),
        ((1080, 720), "w=1296,h=1296,fit=crop", (1080, 720)),
        ((612, 613), "w=1920,h=1120,fit=aspect-crop", (612, 357)),
        ((1080, 720), "w=1080,h=1080,fit=pad", (1080, 1080)),
        ((1080, 720), "w=1080,h=540,fit=squeeze", (1080, 540)),
    ],
)
def test_cloudflares_own_examples(source: tuple[int, int], options: str, size: tuple[int, int]) -> None:
    assert size_of(source, options) == size


def test_dpr_alone_has_no_effect() -> None:
    assert size_of((40, 20), "dpr=2") == (40, 20)


def test_dpr_beyond_three_is_three_with_a_warning() -> None:
    rendering = render(plain((400, 200)), Transform.parse("w=20,dpr=9"))
    assert rendering.width == 60
    assert rendering.warnings == ('cf-images 299 "dpr is limited to 3"',)


def test_a_fraction_of_dpr_rounds_half_up() -> None:
    assert size_of((400, 400), "w=3,h=5,dpr=1.5,fit=squeeze") == (5, 8)


def test_no_side_becomes_zero() -> None:
    assert size_of((1000, 2), "w=10") == (10, 1)
    assert size_of((1000, 2), "w=5,h=5,fit=pad,dpr=0.001") == (1, 1)
    assert size_of((10, 1), "w=1,h=900,fit=aspect-crop") == (1, 1)


def test_one_side_never_crops_by_rounding() -> None:
    assert size_of((100, 33), "w=150,fit=aspect-crop") == (100, 33)


def test_cover_with_one_side_scales_and_warns() -> None:
    rendering = render(plain((400, 200)), Transform.parse("w=200,fit=cover"))
    assert (rendering.width, rendering.height) == (200, 100)
    assert rendering.warnings == ('cf-images 299 "cover fit mode needs both width and height"',)


def test_sides_refer_to_the_axes_after_rotation() -> None:
    rendering = render(plain((400, 200)), Transform.parse("w=50,h=100,rotate=90,fit=squeeze"))
    assert opened(rendering).size == (50, 100)
    assert size_of((400, 200), "w=50,rotate=90") == (50, 100)
    assert size_of((400, 200), "w=50,rotate=180") == (50, 25)


@pytest.mark.parametrize(
    ("gravity", "left", "right"),
    [
        ("left", RED, RED),
        ("center", GREEN, GREEN),
        ("right", BLUE, BLUE),
        ("top", GREEN, GREEN),
        ("bottom", GREEN, GREEN),
        ("0x0.5", RED, RED),
        ("1x0", BLUE, BLUE),
        ("0.25x0.5", RED, GREEN),
    ],
)
@pytest.mark.parametrize("fit", ["cover", "crop", "aspect-crop"])
def test_gravity_chooses_what_is_kept_across(gravity: str, left: object, right: object, fit: str) -> None:
    source = saved(bands(RED, GREEN, BLUE))
    image = opened(render(source, Transform.parse(f"w=30,h=30,fit={fit},g={gravity}")))
    assert image.size == (30, 30)
    assert (image.getpixel((0, 15)), image.getpixel((29, 15))) == (left, right)


@pytest.mark.parametrize(
    ("gravity", "color"), [("top", RED), ("bottom", BLUE), ("0.5x0", RED), ("0x1", BLUE)]
)
def test_gravity_chooses_what_is_kept_down(gravity: str, color: object) -> None:
    source = saved(bands(RED, GREEN, BLUE).transpose(Image.Transpose.TRANSPOSE))
    image = opened(render(source, Transform.parse(f"w=30,h=30,fit=cover,g={gravity}")))
    assert image.getpixel((15, 15)) == color


@pytest.mark.parametrize("gravity", ["auto", "face", "entropy"])
def test_gravity_that_looks_at_the_picture_falls_back_to_the_center(gravity: str) -> None:
    rendering = render(saved(bands(RED, GREEN, BLUE)), Transform.parse(f"w=30,h=30,fit=cover,g={gravity}"))
    assert opened(rendering).getpixel((15, 15)) == GREEN
    assert rendering.warnings == (f'cf-images 299 "gravity={gravity} is not available here: centered"',)


def test_a_crop_without_scaling_keeps_every_pixel() -> None:
    source = bands(*[(value, 255 - value, value // 2) for value in range(0, 255, 5)], size=(1, 40))
    image = opened(render(saved(source), Transform.parse("w=30,h=40,fit=crop")))
    assert image.tobytes() == source.crop((10, 0, 40, 40)).tobytes()


@pytest.mark.parametrize(
    ("trim", "size"),
    [
        ("trim=2;4;6;8", (28, 12)),
        ("trim=2;4;6;8,dpr=2", (16, 4)),
        ("trim.left=10,trim.top=5", (30, 15)),
        ("trim.width=10,trim.height=5", (10, 5)),
        ("trim.width=10,trim.height=5,dpr=2", (20, 10)),
        ("trim.left=35,trim.width=100", (5, 20)),
    ],
)
def test_trim_cuts_before_anything_is_resized(trim: str, size: tuple[int, int]) -> None:
    assert size_of((40, 20), trim) == size


def test_trim_keeps_the_right_part() -> None:
    source = saved(corners((40, 20)))
    image = opened(render(source, Transform.parse("trim=10;0;0;20,w=10")))
    assert image.size == (10, 5)
    assert corner_colors(image) == ((255, 255, 255),) * 4


@pytest.mark.parametrize("trim", ["trim=20;0;0;0", "trim=0;30;0;30", "trim.left=40", "trim.top=1e300"])
def test_trim_that_leaves_nothing_is_refused(trim: str) -> None:
    with pytest.raises(RenderingError, match="40x20") as caught:
        size_of((40, 20), trim)
    assert (caught.value.code, caught.value.status) == (9413, 403)


@pytest.mark.parametrize(
    "options",
    [
        "w=12001,fit=contain",
        "w=1e9,h=1e9,fit=squeeze",
        "w=1e308,fit=cover,dpr=3",
        "h=1e9,fit=pad",
        "w=11000,h=11000,fit=pad",
    ],
)
def test_too_large_a_result_is_refused_before_decoding(options: str) -> None:
    with pytest.raises(RenderingError, match="too large") as caught:
        render(plain((4, 4)), Transform.parse(options))
    assert (caught.value.code, caught.value.status) == (9413, 403)


def test_a_huge_box_is_harmless_when_nothing_is_enlarged() -> None:
    assert size_of((40, 20), "w=1e9,h=1e300,dpr=3") == (40, 20)


def test_the_area_of_a_result_has_the_callers_limit() -> None:
    with pytest.raises(RenderingError, match="401"):
        render(plain((4, 4)), Transform.parse("w=21,fit=contain"), max_pixels=401)
    assert render(plain((4, 4)), Transform.parse("w=20,fit=contain"), max_pixels=401).width == 20
