"""``{% cf_image %}``: what a template says, and what it is told when it is wrong."""

from __future__ import annotations

from typing import Any

import pytest
from django.template import Context, Template, TemplateSyntaxError
from django.utils import translation

from cf_images.exceptions import InvalidVariantError
from cf_images.markup import image_plans, image_tag
from cf_images.markup.image_plans import ImagePlan
from cf_images.markup.image_tags import PreparedTag
from cf_images.templatetags.cf_images import cf_image
from tests.app.models import Photo, Profile
from tests.markup.test_markup import Plain, on

PROFILE = Profile(image="a.jpg")
PHOTO = Photo(file="b.jpg", width=1000, height=500)


def rendered(source: str, **context: Any) -> str:
    return Template("{% load cf_images %}" + source).render(
        Context({"profile": PROFILE, "photo": PHOTO, **context})
    )


def test_the_tag_says_what_the_function_says() -> None:
    shown = rendered('{% cf_image profile.image "avatar" alt="Jane" class="round" data_id=7 %}')
    assert shown == image_tag(PROFILE.image, "avatar", alt="Jane", class_="round", data_id=7)
    shown = rendered(
        '{% cf_image photo.file widths="320,640,1280" sizes="(max-width: 40rem) 100vw, 640px" alt="" %}'
    )
    assert shown == image_tag(
        PHOTO.file, widths="320,640,1280", sizes="(max-width: 40rem) 100vw, 640px", alt=""
    )


def test_options_are_keywords() -> None:
    shown = rendered('{% cf_image photo.file w=200 h=100 fit="cover" alt="" %}')
    assert "/b.jpg/w=200,h=100,fit=cover" in shown


def test_values_come_from_the_context() -> None:
    shown = rendered("{% cf_image photo.file name alt=title hidden=True %}", name="avatar", title="<b>")
    assert "/b.jpg/avatar" in shown
    assert 'alt="&lt;b&gt;"' in shown
    assert 'hidden=""' in shown


def test_it_can_be_kept_in_a_variable_and_is_escaped_once() -> None:
    shown = rendered('{% cf_image photo.file "avatar" alt=title as tag %}{{ tag }}', title="a & b")
    assert 'alt="a &amp; b"' in shown
    assert shown.startswith("<img ")


@pytest.mark.parametrize("autoescape", ["on", "off"])
def test_it_is_escaped_whatever_the_template_says(autoescape: str) -> None:
    source = "{% autoescape MODE %}{% cf_image url alt=title title=title|safe %}{% endautoescape %}"
    shown = rendered(source.replace("MODE", autoescape), url="/a.jpg", title='"><script>')
    assert "<script>" not in shown
    assert shown.count('"') == 2 * shown.count('="')


def test_an_empty_field_and_a_missing_variable_are_nothing() -> None:
    assert rendered('[{% cf_image empty.image "avatar" alt="" %}]', empty=Profile()) == "[]"
    assert rendered('[{% cf_image missing.image "avatar" alt="" %}]') == "[]"


@pytest.mark.parametrize(
    ("keywords", "problem"),
    [
        ('"avatar"', 'alt="" to one that is only decoration'),
        ('"avatar" alt="" clas="x"', r"no 'clas' \(did you mean class\?\)"),
        ('"avatar" alt="" onload="x"', "'onload' would run a script"),
        ('"avatar" alt="" src="x"', "src comes from the image"),
        ('widths="1" dpr="1" alt=""', "exclude each other"),
        ('"avatar" alt="" alt=""', "multiple values"),
        ('"avatar" "small" alt=""', "too many positional"),
    ],
)
def test_a_wrong_keyword_is_found_when_the_template_is_read(keywords: str, problem: str) -> None:
    with pytest.raises(TemplateSyntaxError, match=problem):
        Template("{% load cf_images %}{% if False %}{% cf_image image " + keywords + " %}{% endif %}")


def test_a_wrong_value_is_found_when_it_is_shown() -> None:
    with pytest.raises(InvalidVariantError, match="widths cannot have 'x'"):
        rendered('{% cf_image photo.file widths="320,x" alt="" %}')
    with pytest.raises(InvalidVariantError, match="not a variant"):
        rendered('{% cf_image photo.file "a b" alt="" %}')


KEYWORDS: list[dict[str, Any]] = [
    {"variant": "avatar"},
    {"variant": "small,large", "sizes": "50vw"},
    {"w": 200, "h": 100, "fit": "cover", "q": "80"},
    {"widths": "320,640,1280", "sizes": "(max-width: 40rem) 100vw, 640px"},
    {"variant": "avatar", "dpr": "1,2"},
    {"variant": "small", "placeholder": "avatar", "style": 'color:"red"'},
    {"variant": "small", "style": "color:red", "loading": "eager"},
    {"widths": "320", "source_width": 600, "source_height": 300},
    {"variant": "small", "class": "a", "class_": "b", "data_user_id": 7, "title": '"><script>', "id": "'"},
]
IMAGES: dict[str, Any] = {
    "a file": PROFILE.image,
    "a file of known size": PHOTO.file,
    "an SVG": Photo(file="logo.svg", width=9, height=9).file,
    "an empty field": Profile().image,
    "a URL": PROFILE.image.url,
    "a foreign URL": "https://example.com/a.jpg?x=1&y=2",
    "a file on a storage without variants": on(Plain()),
    "a script": "javascript:alert(1)",
}


@pytest.fixture
def variants(settings: Any) -> None:
    named = {"avatar": {"w": 24, "h": 24, "fit": "cover"}, "small": {"w": 320}, "large": {"w": 1280}}
    settings.CF_IMAGES = {**settings.CF_IMAGES, "VARIANTS": named}


@pytest.mark.usefixtures("variants")
@pytest.mark.parametrize("image", IMAGES)
@pytest.mark.parametrize("keywords", KEYWORDS, ids=str)
class TestEveryValue:
    """A value means the same in a function call, as a constant of a template, and as a variable."""

    def test_as_a_constant(self, image: str, keywords: dict[str, Any]) -> None:
        tag = PreparedTag(["alt", *keywords], {"alt": "A & B", **keywords})
        expected = image_tag(IMAGES[image], alt="A & B", **keywords)
        assert [tag.html(IMAGES[image], {}), tag.html(IMAGES[image], {})] == [expected, expected]

    def test_as_a_variable(self, image: str, keywords: dict[str, Any]) -> None:
        names = "".join(f" {name}=v_{name}" for name in keywords if name != "variant")
        variant = "v_variant" if "variant" in keywords else ""
        source = f"{{% cf_image image {variant} alt=title {names} %}}"
        context = {f"v_{name}": value for name, value in keywords.items()}
        shown = rendered(source, image=IMAGES[image], title="A & B", **context)
        assert shown == image_tag(IMAGES[image], alt="A & B", **keywords)


def test_what_is_constant_is_prepared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = []

    class Counted(ImagePlan):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            prepared.append(kwargs)
            super().__init__(*args, **kwargs)

    monkeypatch.setattr(image_plans, "ImagePlan", Counted)
    source = (
        '{% for p in photos %}{% cf_image p.image widths="31,62" class="x" alt=p.image.name %}{% endfor %}'
    )
    shown = rendered(source, photos=[Profile(image=f"{name}.jpg") for name in "abc"])
    assert shown.count("31w") == 3
    assert len(prepared) == 1


@pytest.mark.parametrize(
    "source", ['{% cf_image photo.file "hero" alt="" %}', "{% cf_image photo.file name alt='' %}"]
)
def test_a_template_follows_changed_settings(source: str, settings: Any) -> None:
    template = Template("{% load cf_images %}" + source)
    context = Context({"photo": PHOTO, "name": "hero"})
    for width in (100, 200):
        settings.CF_IMAGES = {**settings.CF_IMAGES, "VARIANTS": {"hero": {"width": width}}}
        assert f'width="{width}"' in template.render(context)
    settings.CF_IMAGES = {**settings.CF_IMAGES, "VARIANT": "w=9"}
    flexible = Template('{% load cf_images %}{% cf_image photo.file w=9 alt="" %}')
    assert "/w=9" in flexible.render(context)
    settings.CF_IMAGES = {**settings.CF_IMAGES, "FLEXIBLE_VARIANTS": False}
    with pytest.raises(InvalidVariantError, match="FLEXIBLE_VARIANTS"):
        flexible.render(context)


def test_a_default_variant_is_that_of_each_storage(settings: Any) -> None:
    template = Template('{% load cf_images %}{% cf_image image alt="" %}')
    settings.CF_IMAGES = {**settings.CF_IMAGES, "VARIANT": "w=9"}
    assert "/a.jpg/w=9" in template.render(Context({"image": PROFILE.image}))
    assert 'src="/plain/a.jpg"' in template.render(Context({"image": on(Plain())}))
    assert 'src="/x.jpg"' in template.render(Context({"image": "/x.jpg"}))


def test_sizes_from_visitors_fill_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_plans, "_MAX_LAYOUTS", 3)
    plan = ImagePlan("w=100", {})
    for width in range(200, 210):
        picture = plan.picture(PHOTO.file, width, 100)
        assert picture
        assert picture.attributes.values["height"] == str(round(100 * 100 / width))
        assert len(plan._layouts) <= 3


def test_the_function_behind_the_tag_can_be_called() -> None:
    assert cf_image(PHOTO.file, "w=9", alt="") == image_tag(PHOTO.file, "w=9", alt="")


@pytest.mark.parametrize(
    ("keywords", "problem"),
    [
        ('widths="320,x"', "widths cannot have 'x'"),
        ('"a b"', "'a b' is not a variant"),
        ('"avatar" loading="eagre"', "loading cannot be 'eagre'"),
        ('"avatar" loading=word', "loading cannot be 'eagre'"),
        ('"avatar" w=3', "either the variant"),
        ('"avatar" sizes="9px"', "sizes needs widths"),
        ('"avatar" source_width="x"', "source_width cannot be 'x'"),
        ('"avatar" dpr=word', "dpr cannot have 'eagre'"),
    ],
)
@pytest.mark.parametrize("image", ["photo.file", "empty.image", "missing.image"])
def test_a_wrong_value_is_an_error_with_each_image_and_for_an_empty_field(
    image: str, keywords: str, problem: str
) -> None:
    template = Template(f'{{% load cf_images %}}{{% cf_image {image} {keywords} alt="" %}}')
    for _ in range(2):
        with pytest.raises((TypeError, ValueError), match=problem):
            template.render(Context({"photo": PHOTO, "empty": Profile(), "word": "eagre"}))


def test_a_literal_may_be_translated_and_filtered() -> None:
    template = Template(
        """{% load cf_images i18n %}{% cf_image photo.file "small" alt=_("Yes") title="a"|upper %}"""
    )
    for language, word in (("en", "Yes"), ("de", "Ja")):
        with translation.override(language):
            shown = template.render(Context({"photo": PHOTO}))
        assert f'alt="{word}"' in shown
        assert 'title="A"' in shown


def test_a_literal_may_have_entities_and_a_variable_is_text() -> None:
    shown = rendered(
        """{% cf_image photo.file "small" alt="Fish &amp; 'chips'" title=title %}""", title="Fish &amp; chips"
    )
    assert 'alt="Fish &amp; &#x27;chips&#x27;"' in shown
    assert 'title="Fish &amp;amp; chips"' in shown
