"""What a template holds as text: a name gives the URL of its field file, and anything else is told."""

from __future__ import annotations

import html
import logging
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.db import connection
from django.template import Context, Template
from django.template.backends.jinja2 import Jinja2
from django.test.utils import CaptureQueriesContext
from django.utils.functional import SimpleLazyObject, lazystr
from django.utils.safestring import mark_safe

from cf_images.exceptions import InvalidNameError, InvalidVariantError
from cf_images.markup import image_attributes, image_tag, srcset, text_images, variant_url
from tests.app.models import Profile

BASE = "https://imagedelivery.net/test-hash"
NAMES = [
    "avatars/jane-t9f2k0-5p2kd0qj3m8v7x1c.jpg",
    "logo",
    "083eb7b2-5392-4565-b69e-aff66acddd00",
    "a b/é%.jpg",
    "photos/a:b.jpg",
    "what?.jpg",
    "C#.png",
    "Screenshot 3.04\u202fPM.png",
    '"><script>alert(1)</script>',
    "' onload='alert(1)",
    "&quot;&lt;",
    "a\\b.jpg",
    "None",
]
REFUSED = [
    "javascript:alert(1)",
    " JavaScript:alert(1)",
    "java\nscript:alert(1)",
    "\x01javascript:alert(1)",
    "vbscript:x",
    "data:text/html,<script>",
    "blob:x",
    "file:///etc/passwd",
    "\n",
    "  ",
    "a\nb.jpg",
    "a\x00.jpg",
    "\ud800.jpg",
    "../secret.jpg",
    "a/../../b.jpg",
    "a/%2e%2e/b.jpg",
    "./a.jpg",
    "\\\\evil.example\\a.jpg",
    "?x:y",
    "#x",
    "folder/",
    "a" * 1025,
]


@pytest.fixture(autouse=True)
def _nothing_is_reported() -> Iterator[None]:
    text_images._reported.clear()
    yield
    text_images._reported.clear()


@pytest.fixture(params=["cloudflare_images", "default", "files"])
def storage(request: pytest.FixtureRequest, settings: Any) -> Any:
    """The storage that ``select_storage`` chooses: Cloudflare's, ours with its view, Django's."""
    settings.DEBUG = True
    files = {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"base_url": "/files/"}}
    settings.STORAGES = {**settings.STORAGES, "files": files}
    if request.param != "cloudflare_images":
        settings.ENV_NAME = "dev"
        settings.CF_IMAGES = {**settings.CF_IMAGES, "LOCAL_ALIAS": request.param}
    return storages[request.param]


def file_of(name: str, storage: Any) -> Any:
    """The field file that a row with this name has."""
    file = Profile(image=name).image
    file.storage = storage
    return file


def rendered(source: str, **context: Any) -> str:
    return Template("{% load cf_images %}" + source).render(Context(context))


@pytest.mark.parametrize("name", NAMES)
class TestNames:
    @pytest.mark.parametrize("wrap", [str, mark_safe, lazystr, lambda name: SimpleLazyObject(lambda: name)])
    def test_a_name_gives_the_url_of_its_field_file(
        self, name: str, storage: Any, wrap: Callable[[str], Any]
    ) -> None:
        expected = file_of(name, storage)
        for variant in ("avatar", "w=20"):
            url = variant_url(wrap(name), variant)
            assert url == variant_url(expected, variant)
            assert url.startswith((BASE, "/cf-images/local/", "/files/")), "no browser resolves it"

    def test_so_do_the_tags(self, name: str, storage: Any) -> None:
        expected = file_of(name, storage)
        for variant, keywords in [(None, {}), ("avatar", {"dpr": "1,2"}), (None, {"widths": "320,640"})]:
            assert image_tag(name, variant, alt="", **keywords) == image_tag(
                expected, variant, alt="", **keywords
            )
            assert srcset(name, variant, **keywords) == srcset(expected, variant, **keywords)
        assert image_attributes(name, alt="") == image_attributes(expected, alt="")

    def test_so_do_templates(self, name: str, storage: Any) -> None:
        expected = variant_url(file_of(name, storage), "avatar")
        assert html.unescape(rendered("{{ name|variant:'avatar' }}", name=name)) == expected
        assert rendered("{% cf_image name 'avatar' alt='' %}", name=name) == image_tag(name, "avatar", alt="")
        engine = Jinja2({"NAME": "jinja2", "DIRS": [], "APP_DIRS": False, "OPTIONS": {}})
        engine.env.globals.update(variant_url=variant_url)
        template = engine.from_string("{{ variant_url(name, 'avatar') }}")
        assert html.unescape(template.render({"name": name})) == expected


class TestUses:
    def test_rows_of_values(self, db: Any) -> None:
        Profile.objects.create(image=NAMES[0])
        row = Profile.objects.values("image").get()
        with CaptureQueriesContext(connection) as queries:
            assert rendered("{{ row.image|variant:'avatar' }}", row=row) == f"{BASE}/{NAMES[0]}/avatar"
        assert not len(queries)

    def test_the_form_of_a_path_is_a_name_too(self) -> None:
        assert variant_url(PurePosixPath("a/b.jpg"), "avatar") == f"{BASE}/a/b.jpg/avatar"

    def test_an_image_of_another_package_has_a_url(self) -> None:
        rendition = type("Rendition", (), {"url": f"{BASE}/a/public", "__str__": lambda _: "A title"})()
        assert variant_url(rendition, "avatar") == f"{BASE}/a/avatar"
        assert 'src="https://x/y"' in image_tag(type("Rendition", (), {"url": "https://x/y"})(), alt="")

    @pytest.mark.parametrize("nothing", ["", None, mark_safe(""), lazystr(""), {}])
    def test_nothing_gives_nothing(self, nothing: Any) -> None:
        assert variant_url(nothing, "avatar") == image_tag(nothing, alt="") == srcset(nothing, "avatar") == ""

    def test_a_wrong_variant_is_an_error_first(self, settings: Any) -> None:
        settings.DEBUG = True
        with pytest.raises(InvalidVariantError):
            variant_url("../x", "a b")

    def test_an_svg_is_recognized_by_its_name(self) -> None:
        assert "width" not in image_attributes("logo.svg", w=20, h=20, alt="")


@pytest.mark.parametrize(
    "text", [*REFUSED, b"a.jpg", {"avatar": "https://x/y"}, 7, ContentFile(b"x")], ids=repr
)
class TestRefused:
    def test_it_is_an_error_while_debug_is_on(self, text: Any, settings: Any) -> None:
        settings.DEBUG = True
        for show in (lambda: variant_url(text, "avatar"), lambda: image_tag(text, alt="")):
            with pytest.raises(InvalidNameError, match="neither the name of an image nor its URL") as error:
                show()
            assert len(error.value.message) < 400, "the message stays short, whatever the text"
            assert error.value.message.isprintable()

    def test_otherwise_it_shows_nothing_and_is_logged_once(self, text: Any, caplog: Any) -> None:
        for _ in range(3):
            assert variant_url(text, "avatar") == ""
            assert image_tag(text, alt="") == ""
            assert image_attributes(text, "avatar", alt="") == {}
        [record] = caplog.records
        assert (record.name, record.levelno) == ("cf_images.markup.text_images", logging.ERROR)
        assert "\n" not in record.getMessage()


def test_the_log_shows_no_signed_url_in_a_value_of_another_type(caplog: Any) -> None:
    assert image_tag({"avatar": f"{BASE}/a/avatar?exp=1&sig=s3cret"}, alt="") == ""
    assert "A value of the type dict" in caplog.text
    assert "s3cret" not in caplog.text


def test_visitors_cannot_fill_the_log(caplog: Any) -> None:
    for number in range(2 * text_images._MAX_REPORTED):
        variant_url(f"javascript:{number}", "avatar")
    assert len(caplog.records) == len(text_images._reported) == text_images._MAX_REPORTED


class TestPrivate:
    """The name of a private image in a text is no permission: the text may be a visitor's."""

    NAME = "avatars/jane~083eb7b2-5392-4565-b69e-aff66acddd00.jpg"

    @pytest.fixture(autouse=True)
    def _keys(self, settings: Any) -> None:
        settings.CF_IMAGES = {**settings.CF_IMAGES, "SIGNING_KEYS": ["key"]}

    def test_it_is_not_signed(self, settings: Any, caplog: Any) -> None:
        assert "sig=" in variant_url(Profile(image=self.NAME).image, "avatar"), "a field file is"
        assert variant_url(self.NAME, "avatar") == image_tag(self.NAME, alt="") == ""
        assert "images are private" in caplog.text

    @pytest.mark.parametrize("env", ["dev", "production"])
    def test_where_all_images_are_private_it_is_told_in_development_too(
        self, settings: Any, env: str
    ) -> None:
        settings.ENV_NAME, settings.DEBUG = env, True
        assert variant_url("a.jpg", "avatar")
        settings.CF_IMAGES = {**settings.CF_IMAGES, "REQUIRE_SIGNED_URLS": True}
        with pytest.raises(InvalidNameError, match="images are private"):
            variant_url("a.jpg", "avatar")


def test_the_api_gives_no_url_for_what_is_no_image(rf: Any) -> None:
    from cf_images.contrib.rest_framework import CloudflareImageField

    field = CloudflareImageField(variants=["avatar"])
    field._context = {"request": rf.get("/api/")}
    assert field.to_representation("javascript:x") == {"avatar": ""}
    assert field.to_representation("a.jpg") == {"avatar": f"{BASE}/a.jpg/avatar"}
