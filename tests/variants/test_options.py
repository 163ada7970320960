"""Transforms from URLs, read leniently, and from options, read strictly."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cf_images.rendering import InvalidVariantError, Transform, Trim
from cf_images.variants.options import OPTIONS


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("w=200", Transform(width=200)),
        ("width=200,height=100,fit=cover", Transform(width=200, height=100, fit="cover")),
        ("w=200,h=100,f=webp", Transform(width=200, height=100, format="webp")),
        ("q=50,g=left", Transform(quality=50, gravity="left")),
        ("scq=low,face-zoom=0.5", Transform(slow_connection_quality=35, zoom=0.5)),
        ("w=200.4,h=99.5", Transform(width=200, height=100)),
        ("quality=high", Transform(quality=90)),
        ("gravity=0.25x1", Transform(gravity=(0.25, 1.0))),
        ("anim=false", Transform(anim=False)),
        ("rotate=360", Transform(rotate=0)),
        ("rotate=90,flip=hv", Transform(rotate=90, flip="hv")),
        ("trim=20;30;20.5;0", Transform(trim=Trim(top=20, right=30, bottom=20.5, left=0))),
        ("trim.left=3,trim.width=40", Transform(trim=Trim(left=3, width=40))),
        ("trim=1;2;3;4,trim.left=9", Transform(trim=Trim(top=1, right=2, bottom=3, left=4))),
        ("trim=border", Transform(trim="border")),
        ("segment=foreground,upscale=generate", Transform(segment="foreground", upscale="generate")),
        ("onerror=redirect,compression=fast", Transform(onerror="redirect", compression="fast")),
        ("brightness=0,contrast=1.5", Transform(brightness=0, contrast=1.5)),
        ("gamma=2,saturation=0", Transform(gamma=2, saturation=0)),
        ("w%3D200%2Ch%3D100", Transform(width=200, height=100)),
        (" w = 200 , h=100", Transform(width=200, height=100)),
    ],
)
def test_options_are_read_from_a_url(options: str, expected: Transform) -> None:
    assert Transform.parse(options) == expected


@pytest.mark.parametrize("options", ["w=1,width=2", "width=2,w=1"])
def test_a_long_name_wins_over_its_alias(options: str) -> None:
    assert Transform.parse(options).width == 2


def test_the_first_of_two_equal_names_wins() -> None:
    assert Transform.parse("w=1,w=2").width == 1


@pytest.mark.parametrize("width", ["abc", "", "-1", "0", "nan", "inf", "-inf", "auto", "200px", "9" * 400])
def test_an_unreadable_number_is_ignored_in_a_url(width: str) -> None:
    assert Transform.parse(f"w={width},h=5") == Transform(height=5)


@pytest.mark.parametrize(
    "option",
    [
        "q=0",
        "q=101",
        "q=best",
        "dpr=0",
        "dpr=x",
        "blur=-1",
        "anim=maybe",
        "trim=1;2",
        "trim=1;2;3;x",
        "zoom=-1",
    ],
)
def test_a_value_without_meaning_is_ignored_in_a_url(option: str) -> None:
    assert Transform.parse(f"{option},h=5") == Transform(height=5)


def test_unknown_options_and_pieces_without_a_value_are_ignored_in_a_url() -> None:
    assert Transform.parse("border=1,nonsense,=,w=5,,x.y=z") == Transform(width=5)


@pytest.mark.parametrize(
    "options",
    [
        "",
        "public",
        "format=gif",
        "format=tiff",
        "f=svg",
        "fit=stretch",
        "blur=9999",
        "blur=251",
        "sharpen=10.5",
        "brightness=255",
        "contrast=300",
        "gamma=1e9",
        "saturation=1e308",
        "rotate=45",
        "flip=x",
        "metadata=all",
        "gravity=middle",
        "gravity=2x0",
        "gravity=0x0x0",
        "gravity=axb",
        "background=blurple",
        "background=rgb(1,2)",
        "background=rgb(1,2,x)",
        "zoom=2",
        "upscale=magic",
    ],
)
def test_what_cloudflare_refuses_is_error_9401(options: str) -> None:
    with pytest.raises(InvalidVariantError) as caught:
        Transform.parse(options)
    assert (caught.value.code, caught.value.status) == (9401, 400)


@pytest.mark.parametrize(
    ("color", "expected"),
    [
        ("red", (255, 0, 0, 255)),
        ("RED", (255, 0, 0, 255)),
        ("transparent", (0, 0, 0, 0)),
        ("%23f80", (255, 136, 0, 255)),
        ("#ff8800", (255, 136, 0, 255)),
        ("#ff880080", (255, 136, 0, 128)),
        ("rgb%28240%2C40%2C145%29", (240, 40, 145, 255)),
        ("rgb(240,40,145)", (240, 40, 145, 255)),
        ("rgb(255 255 0)", (255, 255, 0, 255)),
        ("rgba(255 255 0 100)", (255, 255, 0, 255)),
        ("rgba(240,40,145,0)", (240, 40, 145, 0)),
        ("rgb(100% 50% 0% / 50%)", (255, 128, 0, 128)),
        ("rgba(999,-5,0,0.5)", (255, 0, 0, 128)),
        ("hsl(120,100%,50%)", (0, 255, 0, 255)),
        ("hsl(120,900%,50%)", (0, 255, 0, 255)),
    ],
)
def test_a_background_is_a_css_color(color: str, expected: tuple[int, ...]) -> None:
    assert Transform.parse(f"background={color},w=7") == Transform(background=expected, width=7)  # type: ignore[arg-type]


def test_options_are_read() -> None:
    transform = Transform.from_options(
        {"width": 240, "height": "240", "fit": "cover", "gravity": (0.5, 0), "anim": False}
    )
    assert transform == Transform(width=240, height=240, fit="cover", gravity=(0.5, 0.0), anim=False)


def test_options_may_have_underscores_aliases_and_a_sequence_for_trim() -> None:
    transform = Transform.from_options({"slow_connection_quality": 30, "w": 5, "trim": [1, 2, 3, 4]})
    assert transform == Transform(
        slow_connection_quality=30, width=5, trim=Trim(top=1, right=2, bottom=3, left=4)
    )


@pytest.mark.parametrize("name", ["browser_ttl", "neverRequireSignedURLs", "never_require_signed_urls"])
def test_what_a_hosted_variant_declares_besides_pixels_is_allowed(name: str) -> None:
    assert Transform.from_options({name: 3600, "width": 5}) == Transform(width=5)


def test_an_unknown_option_names_the_known_ones() -> None:
    with pytest.raises(InvalidVariantError, match=r"'widht' \(did you mean width\?\).*width.*background"):
        Transform.from_options({"widht": 240})


@pytest.mark.parametrize(
    ("name", "value", "valid"),
    [
        ("width", -1, "1 or more"),
        ("width", True, "1 or more"),
        ("width", None, "1 or more"),
        ("width", float("nan"), "1 or more"),
        ("width", 10**400, "1 or more"),
        ("width", "auto", "1 or more"),
        ("fit", "stretch", "scale-down, contain, cover"),
        ("fit", ["cover"], "scale-down, contain, cover"),
        ("quality", 0, "1 to 100, low"),
        ("blur", 251, "0 to 250"),
        ("blur", -1, "0 to 250"),
        ("background", 255, "CSS color"),
        ("gravity", 5, "0x0 to 1x1"),
        ("gravity", (0.5, "x"), "0x0 to 1x1"),
        ("anim", 1, "true or false"),
        ("trim", {"left": 1}, "top;right;bottom;left"),
        ("rotate", "half", "90, 180 or 270"),
    ],
)
def test_a_wrong_value_names_the_valid_ones(name: str, value: Any, valid: str) -> None:
    with pytest.raises(InvalidVariantError) as caught:
        Transform.from_options({name: value})
    assert name in str(caught.value)
    assert valid in str(caught.value)


def test_an_error_shows_only_the_beginning_of_a_long_value() -> None:
    with pytest.raises(InvalidVariantError) as caught:
        Transform.parse("fit=" + "x" * 5000)
    assert len(caught.value.message) < 300


@pytest.mark.parametrize("options", ["w=5," * 1000, "," * 100_000 + "w=5", "w=5," + "(" * 100_000])
def test_a_long_url_is_read_in_linear_time(options: str) -> None:
    began = time.process_time()
    assert Transform.parse(options).width == 5
    assert time.process_time() - began < 10  # quadratic needs minutes


def test_transforms_can_be_keys() -> None:
    assert len({Transform.parse("w=5"), Transform.parse("width=5"), Transform(width=6)}) == 2


# A machine that is busy with something else is no failure.
patiently = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

NAMES = st.sampled_from([*OPTIONS, "w", "h", "f", "g", "q", "scq", "face-zoom", "nonsense"])
VALUES = st.one_of(
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(["auto", "cover", "border", "0x1", "rgb(1,2,3)", "%23fff", "1;2;3;4", "true", "high"]),
    st.text(),
)


def outcome_of(read: Callable[[Any], Transform], options: object) -> Transform | InvalidVariantError:
    """Any other error fails the test."""
    try:
        return read(options)
    except InvalidVariantError as error:
        return error


@patiently
@given(st.one_of(st.text(), st.lists(st.builds("{}={}".format, NAMES, VALUES)).map(",".join)))
def test_any_url_gives_a_transform_or_one_error(options: str) -> None:
    assert isinstance(outcome_of(Transform.parse, options), Transform | InvalidVariantError)


@patiently
@given(st.dictionaries(NAMES, st.one_of(VALUES, st.floats(), st.none(), st.lists(st.floats()))))
def test_any_declaration_gives_a_transform_or_one_error(options: dict[str, object]) -> None:
    assert isinstance(outcome_of(Transform.from_options, options), Transform | InvalidVariantError)


def test_options_are_read_without_pillow_but_for_the_name_of_a_color() -> None:
    code = """if True:
        import sys
        from cf_images.variants import Transform
        Transform.parse("w=5,fit=cover,trim=1;2;3;4")
        print("PIL" in sys.modules)
        Transform.parse("background=red")
        print("PIL" in sys.modules)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_an_option_has_values_only_where_it_exists() -> None:
    assert OPTIONS["zoom"].read("0.50", "flexible") == (0.5, "0.5")
    with pytest.raises(InvalidVariantError, match="zoom does not exist in named variants"):
        OPTIONS["zoom"].read(0.5, "named")


def test_limits_are_shared_with_rendering() -> None:
    from cf_images.rendering import geometry

    assert f"1 to {geometry.MAX_SIDE:,} pixels" in str(OPTIONS["height"].values("flexible"))
    assert f"to {geometry.MAX_DPR}" in str(OPTIONS["dpr"].values("flexible"))
