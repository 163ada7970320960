"""``image_tag`` and the like: complete, responsive, safe ``<img>`` elements, without requests or queries."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, InMemoryStorage, storages
from django.db import connection
from django.template.backends.jinja2 import Jinja2
from django.test.utils import CaptureQueriesContext
from django.utils.functional import lazystr
from django.utils.safestring import SafeString, mark_safe
from PIL import Image

from cf_images import rendering
from cf_images.exceptions import InvalidVariantError
from cf_images.markup import image_attributes, image_tag, srcset
from cf_images.markup.variant_urls import variant_url
from cf_images.variants import FlexibleVariant
from tests.app.models import Photo, Profile
from tests.pictures import picture

BASE = "https://imagedelivery.net/test-hash"
VARIANTS = {
    "avatar": {"width": 240, "height": 240, "fit": "cover"},
    "small": {"width": 320},
    "medium": {"width": 640, "metadata": "none"},
    "large": {"width": 1280, "height": 1280, "fit": "scale-down"},
    "tall": {"height": 300},
    "padded": {"width": 100, "height": 50, "fit": "pad"},
    "blurred": {"width": 16, "blur": 20},
}


@pytest.fixture(autouse=True)
def declared(settings: Any) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "VARIANTS": VARIANTS}


def photo(width: int | None = None, height: int | None = None, name: str = "a.jpg") -> Any:
    """A field file, of a row that knows its dimensions where they are given."""
    if width and height:
        return Photo(file=name, width=width, height=height).file
    return Profile(image=name).image


def on(storage: Any, name: str = "a.jpg") -> Any:
    """A field file on any storage."""
    file = Profile(image=name).image
    file.storage = storage
    return file


class Elements(HTMLParser):
    """The elements that a parser finds, with their attributes decoded."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), "an attribute twice"
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(html: str) -> dict[str, str | None]:
    """The attributes of the one ``<img>`` that ``html`` is."""
    elements = Elements(html)
    ((tag, found),) = elements.found
    assert (tag, elements.text) == ("img", "")
    return found


def candidates(text: str | None) -> dict[str, str]:
    """The variants of a srcset by their descriptors."""
    assert text
    pairs = [entry.split() for entry in text.split(", ")]
    found = {descriptor: url.rpartition("/")[2].replace("%2C", ",") for url, descriptor in pairs}
    assert len(found) == len(pairs), "a descriptor twice"
    return found


class TestAttributes:
    def test_a_named_variant_has_its_url_and_its_size(self) -> None:
        assert image_attributes(photo(), "avatar", alt="Jane") == {
            "src": f"{BASE}/a.jpg/avatar",
            "width": "240",
            "height": "240",
            "alt": "Jane",
            "loading": "lazy",
            "decoding": "async",
        }

    def test_without_a_variant_it_is_what_url_serves(self, settings: Any) -> None:
        assert image_attributes(photo(), alt="")["src"] == photo().url
        settings.CF_IMAGES = {**settings.CF_IMAGES, "VARIANT": "small"}
        assert image_attributes(photo(), alt="")["src"] == f"{BASE}/a.jpg/small"

    @pytest.mark.parametrize(
        "variant", ["h=20,w=10,fit=cover", FlexibleVariant(width=10, height=20, fit="cover")]
    )
    def test_a_flexible_variant_has_its_one_short_form(self, variant: Any) -> None:
        found = image_attributes(photo(), variant, alt="")
        assert found["src"] == f"{BASE}/a.jpg/w=10,h=20,fit=cover"
        assert (found["width"], found["height"]) == ("10", "20")

    def test_options_are_keywords_by_long_and_short_names(self) -> None:
        found = image_attributes(photo(), w=10, height="20", fit="cover", q=60, class_="x", alt="")
        assert found["src"] == f"{BASE}/a.jpg/w=10,h=20,fit=cover,q=60"
        assert found["class"] == "x"

    def test_attributes_are_written_as_html_has_them(self) -> None:
        found = image_attributes(
            photo(),
            "small",
            alt="",
            **{"class": "a"},
            data_user_id=7,
            aria_hidden="true",
            hidden=True,
            inert=False,
        )
        assert found["class"] == "a"
        assert found["data-user-id"] == "7"
        assert found["aria-hidden"] == "true"
        assert found["hidden"] == ""
        assert "inert" not in found

    def test_lazy_and_async_can_be_changed_and_left_out(self) -> None:
        found = image_attributes(
            photo(), "small", alt="", loading="eager", decoding=None, fetchpriority="high"
        )
        assert (found["loading"], found["fetchpriority"]) == ("eager", "high")
        assert "decoding" not in found

    @pytest.mark.parametrize("empty", ["", None, SafeString("")])
    def test_nothing_is_an_empty_string(self, empty: Any) -> None:
        assert image_tag(empty, "avatar", alt="") == ""
        assert image_tag(Profile(image=empty).image, "avatar", alt="") == ""
        assert image_attributes(empty, alt="") == {}
        assert srcset(empty, widths="1") == ""

    def test_the_same_from_the_url_of_an_image(self) -> None:
        assert image_tag(photo().url, "avatar", alt="") == image_tag(photo(), "avatar", alt="")
        assert image_tag(lazystr(photo().url), lazystr("avatar"), alt="") == image_tag(
            photo(), "avatar", alt=""
        )

    def test_a_url_without_a_variant_stays_as_it_is(self) -> None:
        found = image_attributes("https://example.com/a.jpg", alt="", source_width=30, source_height=20)
        assert (found["src"], found["width"], found["height"]) == ("https://example.com/a.jpg", "30", "20")


class TestKeywords:
    def test_alt_is_required_and_the_error_says_how(self) -> None:
        with pytest.raises(TypeError, match='alt="" to one that is only decoration'):
            image_tag(photo(), "avatar")

    def test_alt_may_be_empty_or_an_empty_column(self) -> None:
        assert image_attributes(photo(), "avatar", alt="")["alt"] == ""
        assert image_attributes(photo(), "avatar", alt=None)["alt"] == ""

    def test_a_mistake_is_found_for_an_empty_field_too(self) -> None:
        for wrong in ({"clas": "x"}, {"widths": "x"}, {"loading": "never"}, {"w": 0}, {"dpr": "9", "w": 3}):
            with pytest.raises((TypeError, ValueError)):
                image_tag("", alt="", **wrong)

    @pytest.mark.parametrize(
        ("keyword", "meant"),
        [("clas", "class"), ("wdth", "width"), ("width_s", "widths"), ("qualty", "quality")],
    )
    def test_an_unknown_keyword_names_what_exists_and_the_nearest(self, keyword: str, meant: str) -> None:
        with pytest.raises(
            TypeError, match=rf"no '{keyword}' \(did you mean {meant}\?\).*placeholder.*fetchpriority"
        ):
            image_tag(photo(), alt="", **{keyword: 1})

    @pytest.mark.parametrize("keyword", ["onload", "onerror", "onclick", "on_load", "on", "onerror_"])
    def test_event_handlers_are_refused(self, keyword: str) -> None:
        with pytest.raises(TypeError, match="would run a script"):
            image_tag(photo(), alt="", **{keyword: "alert(1)"})

    @pytest.mark.parametrize("keyword", ["src", "srcset", "src_", "srcset_"])
    def test_urls_come_only_from_the_image(self, keyword: str) -> None:
        with pytest.raises(TypeError, match="comes from the image"):
            image_tag(photo(), alt="", **{keyword: "x"})

    @pytest.mark.parametrize(
        "keyword",
        [
            'x" onload="y',
            "data-x onload",
            "data_x\n",
            "data_x=1",
            "data_",
            'data_">',
            "DATA_X",
            "",
            "_",
            "Onload",
            "é",
        ],
    )
    def test_a_name_that_would_leave_its_place_is_refused(self, keyword: str) -> None:
        with pytest.raises(TypeError):
            image_tag(photo(), alt="", **{keyword: "x"})

    def test_variant_and_options_exclude_each_other(self) -> None:
        with pytest.raises(TypeError, match=r"either the variant 'avatar' or options \(w\)"):
            image_tag(photo(), "avatar", w=20, alt="")

    def test_widths_dpr_and_several_variants_exclude_each_other(self) -> None:
        for wrong in ({"widths": "1", "dpr": "1"}, {"variant": "small,large", "dpr": "1"}):
            with pytest.raises(TypeError, match=r"exclude each other|leave out widths and dpr"):
                image_tag(photo(), alt="", **wrong)
        with pytest.raises(TypeError, match="exclude each other"):
            srcset(photo(), widths="1", dpr="1")

    def test_a_srcset_has_no_attributes(self) -> None:
        with pytest.raises(TypeError, match=r"options of a flexible variant, not class_"):
            srcset(photo(), widths="320", class_="x")

    def test_sizes_alone_is_an_error(self) -> None:
        with pytest.raises(TypeError, match="needs widths or several"):
            image_tag(photo(), "avatar", sizes="100vw", alt="")

    @pytest.mark.parametrize("value", ["eagre", "", "LAZY", 1, True])
    def test_a_word_that_no_browser_knows_names_the_right_ones(self, value: Any) -> None:
        with pytest.raises(ValueError, match="valid is lazy, eager"):
            image_tag(photo(), alt="", loading=value)

    def test_a_wrong_option_is_an_error_that_names_the_right_ones(self) -> None:
        for wrong in ({"w": 0}, {"fit": "covr", "w": 2, "h": 2}, {"w": 2, "width": 3}):
            with pytest.raises(InvalidVariantError):
                image_tag(photo(), alt="", **wrong)
        with pytest.raises(InvalidVariantError, match="unknown option 'foo'"):
            image_tag(photo(), "w=2,foo=1", alt="")
        with pytest.raises(InvalidVariantError, match="browsers cannot show"):
            image_tag(photo(), format="json", alt="")

    def test_a_color_with_commas_is_one_option(self) -> None:
        found = image_attributes(photo(), "w=9,background=rgb(1,2,3),h=9,fit=pad", alt="")
        assert found["src"].endswith("/w=9,h=9,fit=pad,background=%23010203")


class TestSize:
    """``width`` and ``height``: what the browser will get, or nothing."""

    CASES = {
        "cover": ({"w": 200, "h": 100, "fit": "cover"}, (200, 100)),
        "pad": ({"w": 200, "h": 100, "fit": "pad"}, (200, 100)),
        "squeeze": ({"w": 200, "h": 100, "fit": "squeeze"}, (200, 100)),
    }

    @pytest.mark.parametrize("case", CASES)
    def test_where_the_options_alone_say_it(self, case: str) -> None:
        options, size = self.CASES[case]
        found = image_attributes(photo(), alt="", **options)
        assert (int(found["width"]), int(found["height"])) == size

    @pytest.mark.parametrize("fit", ["scale-down", "contain", "crop", "aspect-crop", "scale-up"])
    def test_otherwise_only_the_source_can_say_it(self, fit: str) -> None:
        assert "width" not in image_attributes(photo(), alt="", w=200, h=100, fit=fit)
        assert "width" not in image_attributes(photo(), "small", alt="")
        assert "width" not in image_attributes(photo(), "nowhere", alt="")

    @pytest.mark.parametrize("source", [(800, 600), (600, 800), (90, 60), (1, 3000)])
    @pytest.mark.parametrize(
        "options",
        [
            *(
                {"w": 200, "h": 100, "fit": fit}
                for fit in ("scale-down", "contain", "crop", "aspect-crop", "scale-up")
            ),
            *({"w": 200, "h": 100, "fit": fit} for fit in ("cover", "pad", "squeeze")),
            {"w": 200},
            {"h": 50},
            {"w": 50, "rotate": 90},
            {"blur": 3},
        ],
    )
    def test_it_is_what_rendering_makes_of_the_source(
        self, options: dict[str, Any], source: tuple[int, int]
    ) -> None:
        found = image_attributes(photo(*source), alt="", **options)
        made = rendering.render(
            picture("PNG", source), rendering.Transform.parse(str(FlexibleVariant.of(**options)))
        )
        assert (int(found["width"]), int(found["height"])) == (made.width, made.height)

    def test_a_density_in_the_options_makes_no_larger_element(self) -> None:
        assert image_attributes(photo(800, 600), "w=200,dpr=2", alt="")["width"] == "200"

    def test_given_dimensions_win_over_the_row(self) -> None:
        found = image_attributes(photo(800, 600), "small", alt="", source_width="600", source_height=800)
        assert (found["width"], found["height"]) == ("320", "427")

    @pytest.mark.parametrize("wrong", ["x", -1, 0, "1.5", True, 2**70])
    def test_a_wrong_dimension_is_an_error(self, wrong: Any) -> None:
        with pytest.raises(InvalidVariantError, match="source_width cannot be"):
            image_tag(photo(), "small", alt="", source_width=wrong, source_height=3)

    def test_an_empty_column_is_no_dimension(self) -> None:
        assert "width" not in image_attributes(photo(), "small", alt="", source_width=None, source_height="")

    @pytest.mark.parametrize("given", [{"source_width": 9}, {"source_width": "", "source_height": 9}])
    def test_half_of_the_dimensions_is_none(self, given: dict[str, Any]) -> None:
        assert "width" not in image_attributes(photo(800, 600), "small", alt="", **given)

    def test_trimming_makes_them_unknown(self) -> None:
        assert "width" not in image_attributes(photo(800, 600), "w=200,trim=1;2;3;4", alt="")

    @pytest.mark.parametrize("name", ["logo.svg", "logo~0123.SVG"])
    def test_an_svg_is_never_resized(self, name: str, settings: Any) -> None:
        settings.CF_IMAGES = {**settings.CF_IMAGES, "SIGNING_KEYS": ["key"]}
        found = image_attributes(photo(800, 600, name), "avatar,small" if "~" in name else "avatar", alt="")
        assert not {"width", "height", "srcset", "sizes"} & found.keys()
        assert "width" not in image_attributes(f"{BASE}/logo.svg/public", "avatar", alt="")

    def test_what_cloudflare_would_refuse_to_make_has_no_size(self) -> None:
        assert "width" not in image_attributes(photo(1, 4000), w=12000, alt="", fit="contain")


class TestWidths:
    def test_each_width_is_a_candidate_and_the_middle_one_the_fallback(self) -> None:
        found = image_attributes(photo(), widths="1280, 320,640", alt="")
        assert candidates(found["srcset"]) == {"320w": "w=320", "640w": "w=640", "1280w": "w=1280"}
        assert found["src"] == f"{BASE}/a.jpg/w=640"
        assert found["sizes"] == "100vw"

    @pytest.mark.parametrize("widths", [[320, 640], ("320", "640"), "320,640", mark_safe("320,640")])
    def test_a_list_will_do(self, widths: Any) -> None:
        assert srcset(photo(), widths=widths) == srcset(photo(), widths="320,640")

    def test_nothing_is_larger_than_the_source_whose_own_width_is_the_last(self) -> None:
        found = srcset(photo(1000, 500), widths="320,640,1280,1920")
        assert list(candidates(found)) == ["320w", "640w", "1000w"]
        assert list(candidates(srcset(photo(1000, 500), widths="320,1000,1920"))) == ["320w", "1000w"]
        assert list(candidates(srcset(photo(1000, 500), widths="320,640"))) == ["320w", "640w"]
        assert list(candidates(srcset(photo(100, 50), widths="320,640"))) == ["100w"]
        assert list(candidates(srcset(photo(20_000, 50), widths="320,12000"))) == ["320w", "12000w"]

    @pytest.mark.parametrize(
        ("fit", "widest"),
        [
            ("cover", 500),
            ("crop", 500),
            ("aspect-crop", 500),
            ("squeeze", 500),
            ("pad", 1000),
            ("contain", 1000),
        ],
    )
    def test_a_square_of_a_wide_source_ends_where_pixels_would_be_invented(
        self, fit: str, widest: int
    ) -> None:
        found = candidates(srcset(photo(1000, 500), w=200, h=200, fit=fit, widths="320,4000"))
        assert list(found) == ["320w", f"{widest}w"]
        for descriptor, options in found.items():
            made = rendering.render(picture("PNG", (1000, 500)), rendering.Transform.parse(options))
            assert f"{made.width}w" == descriptor, "the browser was promised another width"

    def test_a_named_variant_gives_the_aspect_ratio(self) -> None:
        found = image_attributes(photo(), "padded", widths="100,300", alt="")
        assert candidates(found["srcset"]) == {"100w": "w=100,h=50,fit=pad", "300w": "w=300,h=150,fit=pad"}
        assert (found["width"], found["height"]) == ("300", "150")

    def test_other_options_stay_and_the_density_goes(self) -> None:
        assert candidates(srcset(photo(), "w=9,dpr=2,q=50", widths="320")) == {"320w": "w=320,q=50"}
        assert candidates(srcset(photo(), "medium", widths="320")) == {"320w": "w=320,metadata=none"}

    def test_a_source_on_its_side_is_measured_so(self) -> None:
        assert list(candidates(srcset(photo(1000, 500), rotate=90, widths="320,800"))) == ["320w", "500w"]

    @pytest.mark.parametrize(
        ("widths", "named"),
        [
            ("320,x", "'x'"),
            ("320,,640", "''"),
            ("", "''"),
            ([], "empty"),
            ("0", "'0'"),
            ("-1", "'-1'"),
            ("12001", "'12001'"),
            ("1.5", "'1.5'"),
            ("1e3", "'1e3'"),
            ("٣", "'٣'"),
            ([True], "'True'"),
            ([None], "'None'"),
            ("9" * 5000, "'999"),
            ("320,640, 320", "'320' twice"),
            ('1" onload="x', "onload"),
        ],
    )
    def test_garbage_is_an_error_that_names_it(self, widths: Any, named: str) -> None:
        with pytest.raises(InvalidVariantError, match=f"widths .*{named}"):
            image_tag(photo(), widths=widths, alt="")

    def test_an_undeclared_variant_cannot_be_resized(self) -> None:
        with pytest.raises(InvalidVariantError, match=r"'nowhere' is not declared.*public, avatar"):
            image_tag(photo(), "nowhere", widths="320", alt="")

    def test_a_width_that_cloudflare_chooses_cannot_be_resized(self) -> None:
        with pytest.raises(InvalidVariantError, match="width=auto"):
            image_tag(photo(), "w=auto", widths="320", alt="")

    @pytest.mark.parametrize(
        ("sizes", "width"),
        [
            ("(max-width: 40rem) 100vw, 400px", "400"),
            ("400px", "400"),
            ("min(100vw, 400px)", "640"),
            ("(max-width: 40rem) 100vw", "640"),
            ("0px", "640"),
        ],
    )
    def test_the_element_is_as_wide_as_sizes_says_last(self, sizes: str, width: str) -> None:
        found = image_attributes(photo(1600, 800), widths="320,640,1280", sizes=sizes, alt="")
        assert found["sizes"] == sizes
        assert (found["width"], found["height"]) == (width, str(int(width) // 2))

    def test_commas_do_not_end_a_candidate(self) -> None:
        found = srcset(photo(name="a,b c.jpg"), widths="320,640", w=9, h=9, fit="cover")
        assert found.count(",") == 1
        assert f"{BASE}/a%2Cb%20c.jpg/w=320%2Ch=320%2Cfit=cover 320w, " in found


class TestSeveralVariants:
    @pytest.mark.parametrize(
        "names", ["large, small,medium", ["small", "medium", "large"], ("large", "medium", "small")]
    )
    def test_each_is_a_candidate_by_its_declared_width(self, names: Any) -> None:
        found = image_attributes(photo(), names, sizes="50vw", alt="")
        assert candidates(found["srcset"]) == {"320w": "small", "640w": "medium", "1280w": "large"}
        assert (found["src"], found["sizes"]) == (f"{BASE}/a.jpg/medium", "50vw")

    def test_a_small_source_gives_its_real_widths(self) -> None:
        found = candidates(srcset(photo(500, 1000), "small,medium,large"))
        assert found == {"320w": "small", "500w": "medium"}

    def test_an_enlarged_variant_is_only_the_last_resort(self) -> None:
        assert candidates(srcset(photo(200, 200), "avatar,padded")) == {"100w": "padded"}
        assert candidates(srcset(photo(50, 20), "avatar,padded")) == {"100w": "padded"}

    def test_flexible_ones_can_be_among_them(self) -> None:
        found = candidates(srcset(photo(), ["small", "w=500,q=50", FlexibleVariant(width=900)]))
        assert found == {"320w": "small", "500w": "w=500,q=50", "900w": "w=900"}

    @pytest.mark.parametrize(
        ("names", "problem"),
        [
            ("small,nowhere", "'nowhere' is not declared.*declared are public, avatar"),
            ("small,tall", "'tall' has no width"),
            ("small,medium,small", "'small' is given twice"),
            ("small,", "'' is not a variant"),
            ([], "empty"),
            (["w=auto", "small"], "'w=auto' has no width"),
            ("small,<b>", "'<b>' is not a variant"),
        ],
    )
    def test_what_no_browser_could_choose_is_an_error(self, names: Any, problem: str) -> None:
        with pytest.raises(InvalidVariantError, match=problem):
            image_tag(photo(), names, alt="")

    def test_private_images_have_only_these(self, settings: Any) -> None:
        settings.CF_IMAGES = {**settings.CF_IMAGES, "SIGNING_KEYS": ["key"]}
        private = photo(name="jane~610a686f-3fa7-46ca-e36d-3c00bd791b00.jpg")
        found = srcset(private, "small,medium")
        assert [entry.partition("?")[0].rpartition("/")[2] for entry in found.split(", ")] == [
            "small",
            "medium",
        ]
        assert found.count("&sig=") == 2
        for flexible in ({"widths": "320"}, {"variant": "small", "placeholder": True}, {"w": 3}):
            with pytest.raises(InvalidVariantError, match="signs no flexible variants"):
                image_tag(private, alt="", **flexible)


class TestDensities:
    def test_a_fixed_size_has_a_rendition_for_each_screen(self) -> None:
        found = image_attributes(photo(), "avatar", dpr="1,2", alt="")
        assert candidates(found["srcset"]) == {"1x": "avatar", "2x": "w=240,h=240,fit=cover,dpr=2"}
        assert (found["src"], found["width"]) == (f"{BASE}/a.jpg/avatar", "240")
        assert "sizes" not in found

    @pytest.mark.parametrize("dpr", [[1, 1.5], "1,1.5", ("1", "1.50")])
    def test_numbers_are_written_one_way(self, dpr: Any) -> None:
        assert candidates(srcset(photo(), w=20, dpr=dpr)) == {"1x": "w=20", "1.5x": "w=20,dpr=1.5"}

    def test_nothing_is_larger_than_the_source(self) -> None:
        assert list(candidates(srcset(photo(500, 300), "small", dpr="1,2,3"))) == ["1x", "1.56x"]
        assert srcset(photo(300, 300), "small", dpr="1,2") == ""
        assert srcset(photo(100, 100), "avatar", dpr="1,2") == ""
        assert srcset(photo(1, 1), "avatar", dpr="1,2") == ""
        assert list(candidates(srcset(photo(2000, 480), "avatar", dpr="1,2,3"))) == ["1x", "2x"]

    @pytest.mark.parametrize("dpr", ["x", "0", "4", "0.5", "", "1,1", "2,2.0x", "1e1", [True], "-1", []])
    def test_garbage_is_an_error_that_names_it(self, dpr: Any) -> None:
        with pytest.raises(InvalidVariantError, match="dpr"):
            image_tag(photo(), "avatar", dpr=dpr, alt="")

    @pytest.mark.parametrize("source", [None, 400])
    def test_without_a_size_there_is_nothing_to_make_denser(self, source: int | None) -> None:
        with pytest.raises(InvalidVariantError, match="only with width, height"):
            image_tag(photo(source, source), blur=3, dpr="1,2", alt="")

    def test_a_second_density_is_an_error(self) -> None:
        with pytest.raises(InvalidVariantError, match="'w=20,dpr=2' has a dpr already"):
            image_tag(photo(), "w=20,dpr=2", dpr="1,2", alt="")


class TestPlaceholder:
    def test_a_tiny_rendition_of_the_same_aspect_ratio_is_the_background(self) -> None:
        style = image_attributes(photo(), "padded", placeholder=True, alt="", style="color:red")["style"]
        assert style == (
            f'background:url("{BASE}/a.jpg/w=32,h=16,fit=pad,blur=2") center/cover no-repeat;color:red'
        )

    @pytest.mark.parametrize("variant", ["nowhere", "tall", "w=9", None])
    def test_any_variant_can_have_one(self, variant: str | None) -> None:
        assert "/w=32,blur=2" in image_attributes(photo(), variant, placeholder=True, alt="")["style"]

    def test_a_named_variant_can_be_the_placeholder(self) -> None:
        assert (
            f"{BASE}/a.jpg/blurred"
            in image_attributes(photo(), "small", placeholder="blurred", alt="")["style"]
        )

    def test_nothing_in_a_url_ends_the_url_of_the_style(self) -> None:
        class Hostile(InMemoryStorage):
            def url_variant(self, name: str, variant: str) -> str:
                return f"/{variant}/\");}}\\\n<x>'("

        style = image_attributes(on(Hostile()), "small", placeholder="blurred", alt="")["style"]
        inside = style.removeprefix('background:url("').removesuffix('") center/cover no-repeat')
        assert not set(inside) & set("\"'()<>;{}\n"), style
        assert "\\22 \\29 \\3b \\7d \\5c \\a " in inside
        parsed(image_tag(on(Hostile()), "small", placeholder="blurred", alt=""))

    @pytest.mark.parametrize("nothing", [False, None, ""])
    def test_without_one_there_is_no_style(self, nothing: Any) -> None:
        assert "style" not in image_attributes(photo(), "small", placeholder=nothing, alt="")


class Plain(FileSystemStorage):
    """Django's own storage, with URLs."""

    def __init__(self) -> None:
        super().__init__(base_url="/plain/")


class TestEverywhere:
    """Local files, images that wait, other storages, URLs: one line of a template for all of them."""

    KEYWORDS = {"widths": "320,640", "sizes": "100vw", "placeholder": True, "alt": ""}

    def test_local_files_have_the_same_candidates(self, settings: Any) -> None:
        settings.DEBUG = True
        here, there = (srcset(on(storages[alias]), "avatar", widths="320,640") for alias in ALIASES)
        assert candidates(here.replace("/a.jpg", "")) == candidates(there)

    @pytest.mark.parametrize("storage", [Plain(), InMemoryStorage(base_url="/plain/")])
    def test_a_storage_without_variants_shows_its_plain_url(self, storage: Any) -> None:
        assert image_attributes(on(storage), "avatar", **self.KEYWORDS) == {
            "src": "/plain/a.jpg",
            "alt": "",
            "loading": "lazy",
            "decoding": "async",
        }

    def test_a_local_storage_whose_view_is_off_does_so_too_in_the_size_of_the_source(self) -> None:
        found = image_attributes(on(storages["default"]), **self.KEYWORDS, source_width=4, source_height=3)
        assert (found["src"], found["width"], found["height"]) == ("/media/a.jpg", "4", "3")
        assert not {"srcset", "sizes", "style"} & found.keys()

    @pytest.mark.parametrize(
        "url", ["https://example.com/a.jpg?x=1&y=2", "/static/a.jpg", "//a/b", f"{BASE}/a/b?sig=1"]
    )
    def test_a_foreign_url_stays_as_it_is(self, url: str) -> None:
        found = image_attributes(url, "avatar", **self.KEYWORDS)
        assert found["src"] == url
        assert not {"srcset", "sizes", "style", "width"} & found.keys()

    def test_a_wrong_option_is_an_error_there_too(self) -> None:
        for image in (on(Plain()), "https://example.com/a.jpg"):
            with pytest.raises(InvalidVariantError):
                image_tag(image, widths="320,x", alt="")

    @pytest.mark.parametrize(
        "keywords",
        [
            {"widths": "320"},
            {"dpr": "1,2", "variant": "avatar"},
            {"w": 3},
            {"variant": "w=3"},
            {"variant": FlexibleVariant(width=3)},
            {"placeholder": True, "variant": "avatar"},
            {"placeholder": "w=3", "variant": "avatar"},
        ],
    )
    def test_a_project_without_flexible_variants_is_told(
        self, keywords: dict[str, Any], settings: Any
    ) -> None:
        settings.CF_IMAGES = {**settings.CF_IMAGES, "FLEXIBLE_VARIANTS": False}
        with pytest.raises(InvalidVariantError, match=r'FLEXIBLE_VARIANTS.* one of CF_IMAGES\["VARIANTS"\]'):
            image_tag(photo(), alt="", **keywords)
        if "placeholder" not in keywords:
            with pytest.raises(InvalidVariantError, match="FLEXIBLE_VARIANTS"):
                image_tag("", alt="", **keywords)
        assert image_tag(photo(), "small,medium", placeholder="blurred", alt="")


ALIASES = ("default", "cloudflare_images")


def width_of(body: bytes) -> int:
    return Image.open(io.BytesIO(body)).width


def shown(response: Any) -> bytes:
    """Return the body of a response; reading it to its end closes the file."""
    assert response.status_code == 200
    return b"".join(response) if response.streaming else response.content


@pytest.mark.django_db
class TestServed:
    """Each candidate is what its descriptor says, also behind an encoded comma."""

    KEYWORDS = {
        "w": 30,
        "h": 30,
        "fit": "cover",
        "widths": "20,40,900",
        "source_width": 64,
        "source_height": 48,
    }

    def entries(self, image: Any) -> list[list[str]]:
        found = srcset(image, **self.KEYWORDS)
        assert "%2C" in found
        return [entry.split() for entry in found.split(", ")]

    def test_by_cloudflare(self, images: Any) -> None:
        name = images.save("a, b.png", ContentFile(picture(size=(64, 48))))
        entries = self.entries(on(images, name))
        assert len(entries) == 3
        for url, descriptor in entries:
            assert f"{width_of(httpx.get(url).content)}w" == descriptor

    def test_by_the_local_view(self, settings: Any, client: Any) -> None:
        settings.DEBUG = True
        local = storages["default"]
        name = local.save("a, b.png", ContentFile(picture(size=(64, 48))))
        for url, descriptor in self.entries(on(local, name)):
            assert f"{width_of(shown(client.get(url)))}w" == descriptor

    def test_by_the_view_of_waiting_images(self, settings: Any, client: Any) -> None:
        settings.CF_IMAGES = {**settings.CF_IMAGES, "BACKGROUND": True, "QUEUE": "none"}
        images = storages["cloudflare_images"]
        image = on(images, images.save("a.png", ContentFile(picture(size=(640, 480)))))
        for address, descriptor in self.entries(image):
            assert address.startswith("/cf-images/pending/")
            assert width_of(shown(client.get(address))) == int(descriptor[:-1])
            made_up = address.partition("?")[0]
            assert width_of(shown(client.get(made_up))) == 640, "a visitor makes this site render nothing"
        named = image_attributes(image, "avatar", alt="")
        assert width_of(shown(client.get(named["src"]))) == int(named["width"]) == 240


HOSTILE = [
    '"><script>alert(1)</script>',
    "' onload='alert(1)",
    "javascript:alert(1)",
    "a\nb\r\n\tc",
    "&quot;&#x22;&lt;",
    "\x00</img><b>",
    "5\" & 6'",
    "{{ 7|safe }}",
    "`=>",
]


class TestHostile:
    @pytest.mark.parametrize("text", HOSTILE)
    @pytest.mark.parametrize("wrap", [str, lazystr])
    def test_text_stays_text(self, text: str, wrap: Callable[[str], Any]) -> None:
        values = {
            name: wrap(text) for name in ("alt", "class_", "title", "style", "data_x", "aria_label", "id")
        }
        found = parsed(image_tag(photo(), "small,medium", sizes=text, **values))
        shown = text.replace("\x00", found["alt"][0] if text[0] == "\x00" and found["alt"] else "\x00")
        for name in ("alt", "class", "title", "style", "data-x", "aria-label", "id", "sizes"):
            assert found[name] in (text, shown)
        assert found.keys() == {
            *("src", "srcset", "sizes", "alt", "loading", "decoding"),
            *("class", "title", "style", "data-x", "aria-label", "id"),
        }

    @pytest.mark.parametrize("text", HOSTILE)
    def test_what_was_marked_as_safe_stays_in_its_attribute(self, text: str) -> None:
        found = parsed(image_tag(mark_safe("https://x/" + text), alt=mark_safe(text), class_=mark_safe(text)))
        assert found.keys() == {"src", "alt", "class", "loading", "decoding"}
        assert found["src"] in ("https://x/" + text, "https://x/" + text.replace("\x00", "\ufffd"))

    def test_an_entity_in_safe_text_is_no_ampersand(self) -> None:
        assert parsed(image_tag(photo(), "small", alt=mark_safe("Fish &amp; chips")))["alt"] == "Fish & chips"
        assert parsed(image_tag(photo(), "small", alt="Fish &amp; chips"))["alt"] == "Fish &amp; chips"

    @pytest.mark.parametrize("name", HOSTILE)
    def test_a_name_stays_a_url(self, name: str, settings: Any) -> None:
        settings.DEBUG = True
        for storage in (storages["cloudflare_images"], storages["default"], Plain()):
            image = on(storage, f"a/{name}")
            found = parsed(image_tag(image, "small,medium", placeholder="blurred", alt=""))
            assert found["src"].startswith((BASE, "/cf-images/local/", "/media/a/", "/plain/"))
            assert found.keys() <= {"src", "srcset", "sizes", "alt", "loading", "decoding", "style"}
            for entry in (found.get("srcset") or "x 1w").split(", "):
                assert len(entry.split()) == 2

    @pytest.mark.parametrize("text", HOSTILE)
    def test_no_variant_and_no_option_carries_anything(self, text: str) -> None:
        for keywords in (
            {"variant": text},
            {"widths": text},
            {"background": text},
            {"gravity": text, "w": 1},
        ):
            with pytest.raises(InvalidVariantError):
                image_tag(photo(), alt="", **keywords)

    @pytest.mark.parametrize(
        "url",
        [
            "javascript:alert(1)",
            " JavaScript:alert(1)",
            "java\nscript:alert(1)",
            "\x01javascript:alert(1)",
            "vbscript:x",
            "data:text/html,<script>",
            "blob:x",
            "file:///etc/passwd",
        ],
    )
    def test_a_url_that_is_not_an_image_is_not_shown(self, url: str) -> None:
        assert image_tag(url, alt="") == ""
        assert image_tag(url, "avatar", alt="") == ""

    @pytest.mark.parametrize("url", ["data:image/png;base64,AAAA", "HTTPS://x/y", "//x/y", " /x", "/a\nb"])
    def test_any_other_is(self, url: str) -> None:
        assert parsed(image_tag(url, alt=""))["src"] == url

    def test_white_space_in_a_url_ends_no_candidate(self) -> None:
        class Careless(InMemoryStorage):
            def url_variant(self, name: str, variant: str) -> str:
                return f"/{variant}/a b,\tc\n.jpg"

        found = srcset(on(Careless()), "small,medium")
        assert found == "/small/a%20b%2C%09c%0A.jpg 320w, /medium/a%20b%2C%09c%0A.jpg 640w"


@pytest.mark.parametrize("hostile", HOSTILE)
def test_templates_of_jinja_take_it_as_it_is(hostile: str) -> None:
    engine = Jinja2({"NAME": "jinja2", "DIRS": [], "APP_DIRS": False, "OPTIONS": {}})
    engine.env.globals.update(image_tag=image_tag, variant_url=variant_url)
    template = engine.from_string(
        """{{ image_tag(photo, "avatar", alt=hostile) }}@@{{ variant_url(photo, "avatar") }}"""
    )
    shown, _, url = template.render({"photo": photo(), "hostile": hostile}).partition("@@")
    assert parsed(shown) == image_attributes(photo(), "avatar", alt=hostile)
    assert url == f"{BASE}/a.jpg/avatar"


@pytest.fixture
def quiet(cloudflare: Any) -> Iterator[None]:
    """Assert that there is no query and no request to Cloudflare."""
    before = len(cloudflare.requests)
    with CaptureQueriesContext(connection) as queries:
        yield
    assert [query["sql"] for query in queries] == []
    assert cloudflare.requests[before:] == []


@pytest.mark.django_db
class TestCost:
    def test_no_tag_makes_a_query_or_a_request(self, quiet: None, settings: Any) -> None:
        settings.DEBUG = True
        for image in (photo(80, 60), photo(), on(storages["default"], "missing.jpg"), photo().url):
            assert image_tag(image, widths="320,640", placeholder=True, alt="")
            assert image_tag(image, "avatar", dpr="1,2", alt="")
            assert image_tag(image, "small,large", alt="")

    def test_a_deferred_column_is_not_fetched(self, cloudflare: Any) -> None:
        Photo.objects.bulk_create([Photo(file="a.jpg", width=80, height=60)])
        image = Photo.objects.get().file
        assert image_attributes(image, "small", alt="")["width"] == "80"
        vars(image.instance).pop("height")  # as Django has it while a column is deferred
        with CaptureQueriesContext(connection) as queries:
            assert "width" not in image_attributes(image, "small", alt="")
        assert not queries.captured_queries
        assert not cloudflare.requests

    def test_a_new_file_is_measured_where_django_has_measured_it(self, cloudflare: Any) -> None:
        row = Photo(file=ContentFile(picture(size=(64, 48)), name="a.png"))
        assert image_attributes(row.file, "small", alt="")["height"] == "48"
        assert not cloudflare.requests


def test_a_page_of_a_thousand_images_is_written_in_no_time() -> None:
    image = photo(4000, 3000)
    image_tag(image, widths="320,640,1280", alt="")
    began = time.process_time()
    for _ in range(1000):
        image_tag(image, widths="320,640,1280", sizes="100vw", placeholder=True, alt="")
    assert time.process_time() - began < 10, "milliseconds each: something is done anew for each image"
