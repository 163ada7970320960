"""Named variants, read strictly, and how an account differs from them."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cf_images.exceptions import InvalidVariantError
from cf_images.variants import NamedVariant, Transform
from cf_images.variants.diff import VariantDiff, compare
from cf_images.variants.named import problems, read_variants

HOSTILE = [
    "a/b",
    "a b",
    "..",
    "../public",
    "a'b",
    'a"b',
    "https://evil.example/x",
    "w=200",
    "a-b",
    "a_b",
    "é",
    "",
]


def declared(**options: Any) -> NamedVariant:
    return NamedVariant.from_options("avatar", options)


def test_cloudflares_defaults_are_filled_in() -> None:
    assert declared(width=240).options == {"fit": "scale-down", "width": 240, "metadata": "none"}


@pytest.mark.parametrize(
    "options",
    [
        {"w": 5, "h": 6, "browser_ttl": 3600, "never_require_signed_urls": True},
        {"width": 5.0, "height": "6", "browser-ttl": 3600, "never-require-signed-urls": "true"},
        {"width": 5, "height": 6, "browser_ttl": 3600.0, "neverRequireSignedURLs": True},
    ],
)
def test_each_spelling_is_the_same_declaration(options: dict[str, Any]) -> None:
    assert NamedVariant.from_options("avatar", options) == NamedVariant(
        name="avatar", width=5, height=6, browser_ttl=3600, never_require_signed_urls=True
    )


def test_numbers_are_whole_for_the_api_where_they_can_be() -> None:
    assert str(declared(width=5.0, blur=20).options) == str(
        {"fit": "scale-down", "metadata": "none", "width": 5, "blur": 20}
    )


def test_its_transform_is_what_the_options_mean() -> None:
    variant = declared(w=5, h=6, fit="pad", metadata="keep", blur=2.5, browser_ttl=3600)
    shown = {name: value for name, value in variant.options.items() if name != "browser_ttl"}
    assert variant.transform == Transform.from_options(shown)
    assert declared().transform == Transform(metadata="none")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"width": 0}, "width cannot be 0; valid is a whole number of pixels, 1 to 9,999"),
        ({"width": 12_001}, "width cannot be 12001"),
        ({"height": 2.5}, "height cannot be 2.5"),
        ({"height": None}, "height cannot be None"),
        ({"width": "auto"}, "width cannot be 'auto'"),
        ({"width": True}, "width cannot be True"),
        ({"fit": "squeeze"}, "fit cannot be 'squeeze'; valid is scale-down, contain, cover, crop, pad"),
        ({"metadata": "all"}, "metadata cannot be 'all'; valid is copyright, keep, none"),
        ({"blur": 0}, "blur cannot be 0; valid is 1 to 250"),
        ({"blur": 251}, "blur cannot be 251"),
        ({"browser_ttl": 3599}, "browser_ttl cannot be 3599; valid is 3600 to 31536000 seconds"),
        ({"browser_ttl": 31_536_001}, "browser_ttl cannot be 31536001"),
        ({"never_require_signed_urls": 1}, "never_require_signed_urls cannot be 1; valid is True or False"),
        ({"quality": 80}, "quality exists only in flexible variants; named variants have width, height, fit"),
        ({"g": "face"}, "g exists only in flexible variants"),
        ({"slow_connection_quality": 5}, "slow_connection_quality exists only in flexible variants"),
        ({"trim.left": 5}, "trim.left exists only in flexible variants"),
        ({"widht": 5}, "unknown option 'widht' (did you mean width?); known are width, height, fit"),
        ({"w": 5, "width": 5}, "width is given twice, once as 'width'"),
        ({"browser_ttl": 3600, "browser-ttl": 3600}, "browser_ttl is given twice"),
        (
            {"never_require_signed_urls": True, "neverRequireSignedURLs": True},
            "never_require_signed_urls is given twice, once as 'neverRequireSignedURLs'",
        ),
    ],
)
def test_what_cloudflare_would_refuse_is_named(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidVariantError) as caught:
        declared(**options)
    assert said in str(caught.value)


@pytest.mark.parametrize("name", [*HOSTILE, "a" * 100, "avatar\n", None, 5])
def test_a_name_is_letters_and_digits(name: Any) -> None:
    with pytest.raises(InvalidVariantError, match="1 to 99 letters and digits"):
        NamedVariant.from_options(name, {"width": 1})


@pytest.mark.parametrize("names", [("avatar", "Avatar"), ("HERO", "hero"), ("Public",)])
def test_names_that_differ_in_case_only_are_one_variant(names: tuple[str, ...]) -> None:
    wrong = list(problems({name: {"width": 1} for name in names}))
    assert [place for place, _ in wrong] == [f"[{names[-1]!r}]"]
    assert "differ only in case" in wrong[0][1]


def test_an_account_has_room_for_a_hundred_with_public() -> None:
    variants: dict[str, Any] = {f"v{number}": {"width": 1} for number in range(99)}
    assert not list(problems(variants))
    assert not list(problems(variants | {"public": {"width": 1}}))
    assert list(problems(variants | {"v99": {"width": 1}})) == [
        ("", "101 variants with 'public'; an account may have 100")
    ]


def test_reading_all_names_the_first_that_is_wrong() -> None:
    assert read_variants({"a": {"w": 1}}) == {"a": NamedVariant(name="a", width=1)}
    with pytest.raises(InvalidVariantError, match=r"VARIANTS\['b'\]: width cannot be 0"):
        read_variants({"a": {"w": 1}, "b": {"w": 0}, "c": 5})


@given(
    st.dictionaries(
        st.one_of(st.text(), st.sampled_from(["w", "fit", "blur"])),
        st.one_of(st.text(), st.floats(), st.none()),
    )
)
def test_any_declaration_gives_a_variant_or_one_error(options: dict[str, Any]) -> None:
    try:
        assert NamedVariant.from_options("a", options).options
    except InvalidVariantError:
        pass


def test_comparing_needs_neither_django_nor_httpx() -> None:
    code = (
        "import sys, cf_images.variants.diff;"
        "print([name for name in ('django', 'PIL', 'httpx') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# What an account lacks

PUBLIC = {"fit": "scale-down", "metadata": "none", "width": 1366, "height": 768}


def there(options: dict[str, Any], *, public: bool = False) -> Any:
    """A variant as the client has it."""
    return SimpleNamespace(options=options, never_require_signed_urls=public)


def difference(variants: dict[str, Any], account: dict[str, Any], **flexible: Any) -> VariantDiff:
    return compare(read_variants(variants), account, **flexible)


@pytest.mark.parametrize(
    "found",
    [
        {"width": 240, "fit": "scale-down", "metadata": "none"},
        {"width": 240.0},
        {"width": 240, "height": None, "blur": 0},
        {"width": 240, "sharpen": 1},
    ],
)
def test_defaults_and_options_that_cannot_be_declared_are_no_difference(found: dict[str, Any]) -> None:
    compared = difference({"a": {"width": 240}}, {"public": there(PUBLIC), "a": there(found)})
    assert not compared
    assert compared.unchanged == 1
    assert compared.steps(prune=True) == []


def test_each_changed_option_has_its_old_and_new_value() -> None:
    compared = difference(
        {"a": {"width": 240, "fit": "cover", "browser_ttl": 3600}},
        {"a": there({"width": 100, "fit": "cover", "height": 50, "sharpen": 1}, public=True)},
    )
    assert compared.changed[0].options == (
        ("width", 100, 240),
        ("height", 50, None),
        ("browser_ttl", None, 3600),
        ("never_require_signed_urls", True, None),
        ("sharpen", 1, None),
    )


def test_public_is_compared_only_where_it_is_declared() -> None:
    account = {"public": there(PUBLIC | {"width": 5})}
    assert not difference({}, account)
    assert difference({"public": {"width": 6, "height": 768}}, account).changed
    assert not difference({}, account).extra


def test_new_and_extra_ones_are_told_apart() -> None:
    compared = difference({"a": {"w": 1}}, {"public": there(PUBLIC), "A": there({"width": 1})})
    assert [variant.name for variant in compared.added] == ["a"]
    assert compared.extra == ("A",)


@pytest.mark.parametrize(
    ("wanted", "found", "words", "differs", "must_switch"),
    [
        (None, True, "on  not declared in FLEXIBLE_VARIANTS", False, False),
        (None, None, "cannot be read  not declared in FLEXIBLE_VARIANTS", False, False),
        (True, True, "on", False, False),
        (False, True, "on → off", True, True),
        (True, False, "off → on", True, True),
        (True, None, "cannot be read  declared: on", False, True),
    ],
)
def test_flexible_variants_are_part_of_it(
    wanted: Any, found: Any, words: str, differs: bool, must_switch: bool
) -> None:
    compared = difference({}, {}, flexible_declared=wanted, flexible_found=found)
    assert bool(compared) is differs
    assert [*compared.lines()][-1] == f"flexible variants  {words}"
    assert len(compared.steps(prune=False)) == must_switch


def test_the_lines_are_aligned() -> None:
    compared = difference(
        {"hero": {"w": 1, "blur": 2.5}, "a": {"w": 2, "fit": "pad", "neverRequireSignedURLs": True}},
        {"public": there(PUBLIC), "a": there({"width": 3}), "old": there({})},
        flexible_found=True,
    )
    assert [*compared.lines()] == [
        "new                  hero  fit scale-down, metadata none, width 1, blur 2.5",
        "changed              a     width 3 → 2",
        "                           fit scale-down → pad",
        "                           never_require_signed_urls not given → true",
        "only in the account  old",
        "as declared          0",
        "flexible variants    on    not declared in FLEXIBLE_VARIANTS",
    ]


@pytest.mark.parametrize(
    ("new", "there_before", "prune", "overflow"),
    [(1, 99, False, 0), (1, 100, False, 1), (3, 98, False, 1), (3, 98, True, 0)],
)
def test_the_room_of_an_account_is_known_before(
    new: int, there_before: int, prune: bool, overflow: int
) -> None:
    account = {"public": there(PUBLIC)} | {f"v{number}": there({}) for number in range(there_before - 1)}
    assert (
        difference({f"n{number}": {"w": 1} for number in range(new)}, account).overflow(prune=prune)
        == overflow
    )


def test_deletions_come_first_and_only_on_request() -> None:
    compared = difference(
        {"a": {"w": 1}, "b": {"w": 2}}, {"b": there({}), "old": there({})}, flexible_declared=True
    )
    assert [f"{step.verb} {step.what}" for step in compared.steps(prune=True)] == [
        "delete old",
        "change b",
        "add a",
        "turn flexible variants on",
    ]
    assert "delete" not in {step.verb for step in compared.steps(prune=False)}
