"""``{% cf_image %}``: what a template says, and what it is told when it is wrong."""

from __future__ import annotations

from typing import Any

import pytest
from django.template import Context, Template, TemplateSyntaxError

from cf_images.exceptions import InvalidVariantError
from cf_images.markup import image_tag
from tests.app.models import Photo, Profile

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
    with pytest.raises(InvalidVariantError, match="no variant"):
        rendered('{% cf_image photo.file "a b" alt="" %}')
