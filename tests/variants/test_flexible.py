"""Flexible variants: each option checked, one short form, equal to what Cloudflare reads."""

from __future__ import annotations

import copy
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, replace
from typing import Any, get_args, get_type_hints

import pytest
from django.utils.safestring import SafeString
from hypothesis import given
from hypothesis import strategies as st

from cf_images.exceptions import InvalidVariantError
from cf_images.variants import FlexibleVariant, Transform, Trim, grammar
from cf_images.variants.options import OPTIONS, fields_of


def refusal(**options: Any) -> str:
    """The one sentence about wrong options."""
    with pytest.raises(InvalidVariantError) as caught:
        FlexibleVariant.of(**options)
    return caught.value.message


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"width": 200}, "w=200"),
        ({"w": "200"}, "w=200"),
        ({"width": 199.6}, "w=200"),
        ({"width": "auto"}, "w=auto"),
        (
            {"g": (0.5, 0.5), "q": 80, "f": "webp", "fit": "cover", "h": 100, "w": 200},
            "w=200,h=100,fit=cover,f=webp,q=80,g=0.5x0.5",
        ),
        ({"quality": "low", "scq": "high"}, "q=low,scq=high"),
        (
            {"w": 200, "fit": "cover"},  # Cloudflare then only scales, and says so in a header
            "w=200,fit=cover",
        ),
        (
            {"w": 9, "h": 9, "fit": "cover", "g": "face", "face-zoom": 0.25},
            "w=9,h=9,fit=cover,g=face,zoom=0.25",
        ),
        ({"w": 9, "h": 9, "fit": "crop", "gravity": "0x1.0"}, "w=9,h=9,fit=crop,g=0x1"),
        ({"trim": (20, 30, 20.5, 0)}, "trim=20;30;20.5;0"),
        ({"trim": "20;30;20.50;0"}, "trim=20;30;20.5;0"),
        ({"trim": [1, 2, 3, 4]}, "trim=1;2;3;4"),
        ({"trim": Trim(top=1)}, "trim=1;0;0;0"),
        ({"trim": "border", "dpr": 2}, "dpr=2,trim=border"),
        ({"trim_top": 0, "dpr": 1.5}, "dpr=1.5,trim.top=0"),
        ({"trim.left": 3, "trim_width": 40}, "trim.width=40,trim.left=3"),
        ({"background": "RED"}, "background=#f00"),
        ({"background": "#FF8001"}, "background=#ff8001"),
        ({"background": "rgb(255 0 0 / 50%)"}, "background=rgba(255,0,0,0.502)"),
        ({"background": "transparent"}, "background=rgba(0,0,0,0)"),
        ({"blur": 0.1 + 0.9 + 1, "gamma": 0.1 + 0.2, "anim": False}, "blur=2,gamma=0.3,anim=false"),
        ({"width": 5, "dpr": 2.0, "rotate": "90", "flip": "hv"}, "w=5,dpr=2,rotate=90,flip=hv"),
        (
            {"onerror": "redirect", "segment": "foreground", "compression": "fast", "metadata": "none"},
            "metadata=none,compression=fast,segment=foreground,onerror=redirect",
        ),
        ({"saturation": 0, "sharpen": -0.0, "w": None}, "sharpen=0,saturation=0"),
    ],
)
def test_the_short_form_is_one(options: dict[str, Any], text: str) -> None:
    variant = FlexibleVariant.from_options(options)
    assert str(variant) == text
    assert grammar.clean_variant(str(variant)) == text
    assert FlexibleVariant.parse(text) == variant


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"width": 0}, "width cannot be 0; valid is 1 to 12,000 pixels, or auto"),
        ({"width": "wide"}, "width cannot be 'wide'"),
        ({"width": ""}, "width cannot be ''"),
        ({"width": True}, "width cannot be True"),
        ({"width": 12_001}, "width cannot be 12001"),
        ({"height": "auto"}, "height cannot be 'auto'; valid is 1 to 12,000 pixels"),
        ({"w": 1, "h": 1, "fit": "stretch"}, "fit cannot be 'stretch'; valid is scale-down, contain"),
        ({"format": "gif"}, "format cannot be 'gif'; valid is auto, avif"),
        ({"quality": 101}, "quality cannot be 101; valid is 1 to 100, low"),
        ({"scq": "worst"}, "slow_connection_quality cannot be 'worst'; valid is 1 to 100, low"),
        ({"blur": 0}, "blur cannot be 0; valid is 1 to 250"),
        ({"blur": 251}, "blur cannot be 251"),
        ({"w": 1, "dpr": 4}, "dpr cannot be 4; valid is a number from above 0 to 3"),
        ({"brightness": 0}, "brightness cannot be 0; valid is a factor from above 0 to below 255"),
        ({"gamma": 0.00001}, "gamma cannot be 1e-05"),
        ({"rotate": 0}, "rotate cannot be 0; valid is 90, 180 or 270"),
        ({"rotate": 360}, "rotate cannot be 360"),
        ({"trim": (1, 2)}, "trim cannot be (1, 2); valid is top;right;bottom;left"),
        ({"trim": {"left": 1}}, "trim cannot be {'left': 1}"),
        ({"trim": Trim(width=3)}, "trim cannot be Trim("),
        ({"trim.left": -1}, "trim_left cannot be -1; valid is 0 to 12,000 pixels"),
        ({"background": "blurple"}, "background cannot be 'blurple'; valid is a CSS color"),
        ({"anim": "maybe"}, "anim cannot be 'maybe'; valid is true or false"),
        ({"fit": [["cover"]]}, "fit cannot be [['cover']]"),
        ({"flip": "x" * 500}, "flip cannot be 'xxxx"),
        ({}, "at least one option, such as width=200"),
        ({"width": None}, "at least one option"),
        ({"trim": (1, 2, 3, 4), "trim_left": 1}, "exclude each other"),
        ({"fit": "contain"}, "fit 'contain' has no effect without width or height"),
        ({"w": 5, "gravity": "face"}, "gravity 'face' has an effect only with fit 'cover' or 'crop' or"),
        (
            {"w": 5, "h": 5, "fit": "crop", "g": "left", "zoom": 0.5},
            "zoom 0.5 has an effect only with gravity",
        ),
        ({"dpr": 2, "blur": 5}, "dpr 2.0 has an effect only with width, height or trim"),
        ({"w": 5, "upscale": "generate"}, "upscale 'generate' has an effect only with fit 'contain' or"),
        ({"w": 1, "width": 2}, "width is given twice, once as 'width'"),
        ({"widht": 5}, "unknown option 'widht' (did you mean width?); known are width, height, fit"),
        ({"face": 5}, "unknown option 'face'"),
        ({"WIDTH": 5}, "(did you mean width?)"),
        ({"trim-lefft": 5}, "(did you mean trim_left?)"),
        ({"zzzzzz": 5}, "unknown option 'zzzzzz'; known are"),
        ({"border": 5}, "border exists only in Workers"),
        ({"wbreakpoints": 5}, "unknown option 'wbreakpoints'"),
    ],
)
def test_what_cloudflare_would_refuse_or_ignore_is_an_error(options: dict[str, Any], said: str) -> None:
    message = refusal(**options)
    assert said in message
    assert len(message) < 600


def test_the_constructor_checks_as_well() -> None:
    with pytest.raises(InvalidVariantError, match="height cannot be -1"):
        FlexibleVariant(width=5, height=-1)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"width": 200}, {"w": "200"}),
        ({"background": "red"}, {"background": "#F00"}),
        ({"w": 5, "dpr": 2}, {"w": 5.0, "dpr": "2.00001"}),
        ({"anim": "true"}, {"anim": True}),
        ({"trim": "1;2;3;4"}, {"trim": (1.0, 2, 3, 4)}),
    ],
)
def test_equal_options_are_equal_variants(one: dict[str, Any], other: dict[str, Any]) -> None:
    first, second = FlexibleVariant.from_options(one), FlexibleVariant.from_options(other)
    assert first == second
    assert hash(first) == hash(second)
    assert str(first) == str(second)


def test_a_switch_and_a_number_are_not_mistaken_for_each_other() -> None:
    assert str(FlexibleVariant.of(anim=True)) == "anim=true"
    assert "anim cannot be 1" in refusal(anim=1)
    assert str(FlexibleVariant.of(blur=1)) == "blur=1"
    assert "blur cannot be True" in refusal(blur=True)


def test_what_a_template_asks_for_again_and_again_is_made_once() -> None:
    assert FlexibleVariant.of(w=200, q="80") is FlexibleVariant.of(w=200, q="80")
    assert FlexibleVariant.of(w=200, q=80) == FlexibleVariant.of(w=200, q="80")


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("w=200,fit=cover", "w=200,fit=cover"),
        ("fit=cover,height=9,width=200", "w=200,h=9,fit=cover"),
        ("w%3D200%2Cq%3D80", "w=200,q=80"),
        ("w=9,background=rgb(1,2,3),h=9,fit=pad", "w=9,h=9,fit=pad,background=#010203"),
        ("trim.left=3,trim.top=4", "trim.left=3,trim.top=4"),
    ],
)
def test_its_text_form_is_read_in_any_order(text: str, canonical: str) -> None:
    assert str(FlexibleVariant.parse(text)) == canonical
    assert FlexibleVariant.parse(text) == FlexibleVariant.parse(canonical)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("avatar", "'avatar' is a name; expected options such as w=200,fit=cover"),
        ("", "'' is not a variant"),
        ("w=200, h=9", "is not a variant"),
        ("w=200,", "is not a variant"),
        ("w=1,w=2", "width is given twice, once as 'w'"),
        ("w=1,width=1", "width is given twice, once as 'width'"),
        ("w=1,foo=2", "unknown option 'foo'"),
        ("w=200px", "width cannot be '200px'"),
        ("fit=cover", "has no effect without width or height"),
        ("w=1,browser-ttl=3600", "browser-ttl exists only in named variants; flexible variants have width"),
    ],
)
def test_its_text_form_is_read_strictly(text: str, said: str) -> None:
    with pytest.raises(InvalidVariantError, match=re.escape(said)):
        FlexibleVariant.parse(text)


def test_a_text_is_read_once() -> None:
    assert FlexibleVariant.parse("w=200,q=80") is FlexibleVariant.parse("w=200,q=80")


def test_a_clean_variant_is_never_marked_as_safe() -> None:
    first = grammar.clean_variant(SafeString("w=201"))
    assert type(first) is type(grammar.clean_variant("w=201")) is str


def test_another_size_of_the_same_is_a_replacement() -> None:
    variant = FlexibleVariant(
        width=200, height=100, fit="cover", background="red", trim=(1, 2, 3, 4), quality="low"
    )
    assert replace(variant, width=400) == FlexibleVariant.of(**{**variant.given(), "width": 400})


def test_a_variant_is_never_changed_and_survives_copies() -> None:
    variant = FlexibleVariant(width=200, gravity=(0, 1), height=5, fit="crop")
    with pytest.raises(FrozenInstanceError):
        variant.width = 5  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(variant)) == copy.deepcopy(variant) == variant


def test_its_repr_makes_it_again() -> None:
    variant = FlexibleVariant(width=200, trim=(1, 2, 3, 4), anim=False)
    assert eval(repr(variant), {"FlexibleVariant": FlexibleVariant, "Trim": Trim}) == variant


def literals(hint: Any) -> Iterator[Any]:
    """Every literal in a type."""
    for part in get_args(hint):
        if get_args(part):
            yield from literals(part)
        elif isinstance(part, str | int):
            yield part


def test_the_types_name_every_option_and_every_word_of_the_table() -> None:
    hints = get_type_hints(FlexibleVariant)
    del hints["_text"]
    assert tuple(hints) == fields_of("flexible")
    for name, hint in hints.items():
        values = OPTIONS[name].values("flexible")
        words = [*literals(hint)]
        assert values
        assert all(values.read(word) == word for word in words), name
        if values.read.__qualname__.startswith("one_of"):
            assert values.valid == ", ".join(words), name


def test_importing_it_loads_neither_django_nor_pillow() -> None:
    code = (
        "import sys; from cf_images.variants import FlexibleVariant; str(FlexibleVariant(width=5));"
        "print([name for name in ('django', 'PIL', 'httpx') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# All options at once, and the same read back

SIDES = st.one_of(st.integers(1, 12_000), st.floats(1, 12_000))
LENGTHS = st.floats(0, 12_000)
FACTORS = st.floats(0.0001, 254.9)
QUALITIES = st.one_of(st.integers(1, 100), st.sampled_from(["low", "medium-low", "medium-high", "high"]))
CHANNELS = st.integers(0, 255)
COLORS = st.one_of(
    st.sampled_from(["red", "rebeccapurple", "transparent", "hsl(120,100%,50%)", "#abcd"]),
    st.builds("rgb({},{},{})".format, CHANNELS, CHANNELS, CHANNELS),
    st.builds("#{:02x}{:02x}{:02x}{:02x}".format, CHANNELS, CHANNELS, CHANNELS, CHANNELS),
)
POINTS = st.tuples(st.floats(0, 1), st.floats(0, 1))


def word(name: str) -> st.SearchStrategy[str]:
    values = OPTIONS[name].values("flexible")
    assert values
    return st.sampled_from(values.valid.split(", "))


CROPS = st.fixed_dictionaries(
    {"width": SIDES, "height": SIDES, "fit": st.sampled_from(["cover", "crop", "aspect-crop"])},
    optional={"gravity": st.one_of(POINTS, st.sampled_from(["auto", "left", "center", "entropy"]))},
)
FACES = st.fixed_dictionaries(
    {
        "width": SIDES,
        "height": SIDES,
        "fit": st.just("crop"),
        "gravity": st.just("face"),
        "zoom": st.floats(0, 1),
    }
)
ENLARGED = st.fixed_dictionaries(
    {
        "height": SIDES,
        "fit": st.sampled_from(["contain", "pad", "squeeze", "scale-up"]),
        "upscale": word("upscale"),
    }
)
SIZES = st.one_of(
    CROPS,
    FACES,
    ENLARGED,
    st.fixed_dictionaries(
        {"width": st.one_of(SIDES, st.just("auto"))}, optional={"fit": st.just("scale-down")}
    ),
)
TRIMS = st.one_of(
    st.just({}),
    st.fixed_dictionaries(
        {"trim": st.one_of(st.just("border"), st.tuples(LENGTHS, LENGTHS, LENGTHS, LENGTHS))}
    ),
    st.fixed_dictionaries(
        {}, optional={"trim_left": LENGTHS, "trim_top": LENGTHS, "trim_width": SIDES, "trim_height": SIDES}
    ),
)
OTHERS = st.fixed_dictionaries(
    {},
    optional={
        "dpr": st.floats(0.001, 3),
        "format": word("format"),
        "quality": QUALITIES,
        "slow_connection_quality": QUALITIES,
        "background": COLORS,
        "rotate": st.sampled_from([90, 180, 270]),
        "flip": word("flip"),
        "blur": st.floats(1, 250),
        "sharpen": st.floats(0, 10),
        "brightness": FACTORS,
        "contrast": FACTORS,
        "gamma": FACTORS,
        "saturation": st.floats(0, 254.9),
        "anim": st.booleans(),
        "metadata": word("metadata"),
        "compression": word("compression"),
        "segment": word("segment"),
        "onerror": word("onerror"),
    },
)
VARIANTS = st.builds(
    lambda *parts: {name: value for part in parts for name, value in part.items()}, SIZES, TRIMS, OTHERS
)


@given(VARIANTS)
def test_the_short_form_reads_back_as_the_same_transform(options: dict[str, Any]) -> None:
    variant = FlexibleVariant.of(**options)
    text = grammar.clean_variant(str(variant))
    kept = variant.given()
    if kept.get("width") == "auto":  # which no local rendering knows
        del kept["width"]
    assert Transform.parse(text) == Transform.from_options(kept)
    assert not re.search(r"=[\d.;x]+e", text), "Cloudflare need not read exponents"


@given(VARIANTS)
def test_the_short_form_of_the_short_form_is_the_same(options: dict[str, Any]) -> None:
    variant = FlexibleVariant.of(**options)
    assert FlexibleVariant.of(**variant.given()) == variant
    shuffled = dict(reversed(options.items()))
    assert str(FlexibleVariant.of(**shuffled)) == str(variant)


@given(
    st.dictionaries(
        st.one_of(st.sampled_from([*OPTIONS]), st.text()),
        st.one_of(st.text(), st.floats(), st.none(), st.lists(st.floats())),
    )
)
def test_any_options_give_a_variant_or_one_error(options: dict[str, Any]) -> None:
    try:
        variant = FlexibleVariant.from_options(options)
    except InvalidVariantError:
        return
    assert grammar.clean_variant(str(variant)) == str(variant)
