"""The ``variant`` filter: field files and URLs, of this project or foreign; never a request or a query.

What is neither is in ``test_text_images``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, InMemoryStorage, storages
from django.db import connection
from django.db.models.fields.files import FieldFile
from django.template import Context, Template
from django.test.utils import CaptureQueriesContext
from django.urls import clear_script_prefix, include, path, reverse, set_script_prefix
from django.utils.functional import SimpleLazyObject, lazystr
from django.utils.safestring import SafeString, mark_safe

from cf_images.exceptions import InvalidVariantError
from cf_images.markup.variant_urls import replace_variant
from cf_images.storage import pending_urls
from cf_images.storage.pending_urls import pending_url, signed_until
from cf_images.templatetags.cf_images import variant
from tests.app.models import Profile

BASE = "https://imagedelivery.net/test-hash"
NAME = "avatars/jane-t9f2k0-5p2kd0qj3m8v7x1c.jpg"


def rendered(source: str, **context: Any) -> str:
    return Template("{% load cf_images %}" + source).render(Context(context))


def field_file(storage: Any, name: str = NAME) -> FieldFile:
    """A field file on any storage, without saving a thing."""
    file = Profile(image=name).image
    file.storage = storage
    return file


@pytest.fixture
def local(settings: Any) -> Any:
    """The local storage, with its view at work."""
    settings.DEBUG = True
    return storages["default"]


class TestFieldFiles:
    def test_a_named_variant_is_the_last_segment(self) -> None:
        assert variant(Profile(image=NAME).image, "avatar") == f"{BASE}/{NAME}/avatar"

    def test_a_flexible_variant_too(self) -> None:
        assert variant(Profile(image=NAME).image, "w=200,fit=cover") == f"{BASE}/{NAME}/w=200,fit=cover"
        assert variant(Profile(image=NAME).image, "background=#fff") == f"{BASE}/{NAME}/background=%23fff"

    def test_the_id_of_a_private_image_is_what_follows_the_tilde(self, settings: Any) -> None:
        settings.CF_IMAGES = {**settings.CF_IMAGES, "SIGNING_KEYS": ["key"]}
        url = variant(Profile(image="avatars/jane~610a686f-3fa7-46ca-e36d-3c00bd791b00.jpg").image, "avatar")
        assert url.startswith(f"{BASE}/610a686f-3fa7-46ca-e36d-3c00bd791b00/avatar?exp=")

    @pytest.mark.parametrize("name", ["", None])
    def test_an_empty_field_gives_the_empty_string(self, name: str | None) -> None:
        assert variant(Profile(image=name).image, "avatar") == ""

    def test_a_name_that_is_a_delivery_url_gets_another_last_segment(self) -> None:
        assert variant(Profile(image=f"{BASE}/a/public").image, "avatar") == f"{BASE}/a/avatar"

    def test_local_files_have_the_url_of_the_view(self, local: Any) -> None:
        assert variant(field_file(local), "avatar") == f"/cf-images/local/avatar/{NAME}"
        assert variant(field_file(local, "a b é%.jpg"), "w=9") == "/cf-images/local/w=9/a%20b%20%C3%A9%25.jpg"

    def test_local_files_whose_view_is_off_show_the_original(self, settings: Any) -> None:
        assert variant(field_file(storages["default"]), "avatar") == f"/media/{NAME}"

    @pytest.mark.parametrize(
        "storage", [InMemoryStorage(base_url="/memory/"), FileSystemStorage(base_url="/memory/")]
    )
    def test_a_storage_without_variants_gives_its_plain_url(self, storage: Any) -> None:
        assert variant(field_file(storage), "avatar") == f"/memory/{NAME}"

    def test_a_storage_behind_a_lazy_object_is_asked_as_well(self) -> None:
        storage = SimpleLazyObject(lambda: storages["cloudflare_images"])
        assert variant(field_file(storage), "avatar") == f"{BASE}/{NAME}/avatar"

    def test_a_field_file_that_was_not_saved_yet_has_its_name(self) -> None:
        profile = Profile(image=ContentFile(b"x", name="new.jpg"))
        assert variant(profile.image, "avatar") == f"{BASE}/new.jpg/avatar"

    @pytest.mark.parametrize(
        "storage", [InMemoryStorage(), "default", "cloudflare_images"], ids=["memory", "local", "cloudflare"]
    )
    @pytest.mark.parametrize("bad", ["", None, "a b", "../x", "https://evil.example/x"])
    def test_a_variant_that_is_none_is_an_error_everywhere(self, bad: Any, storage: Any) -> None:
        file = field_file(storages[storage] if isinstance(storage, str) else storage)
        with pytest.raises(InvalidVariantError):
            variant(file, bad)


class TestURLs:
    def test_the_last_segment_is_replaced(self) -> None:
        assert variant(f"{BASE}/{NAME}/public", "w=200") == f"{BASE}/{NAME}/w=200"

    def test_the_url_of_a_field_file_will_do(self) -> None:
        assert variant(Profile(image="100% é.jpg").image.url, "w=2") == f"{BASE}/100%25%20%C3%A9.jpg/w=2"

    @pytest.mark.parametrize(
        "host",
        ["https://img.example/cdn-cgi/imagedelivery", "http://127.0.0.1:8787", "https://second.example"],
    )
    def test_each_configured_host_is_recognized(self, host: str, settings: Any) -> None:
        second = {
            "BACKEND": "cf_images.storage.CloudflareImagesStorage",
            "OPTIONS": {"delivery_url": "https://second.example/"},
        }
        settings.STORAGES = {**settings.STORAGES, "second": second}
        settings.CF_IMAGES = {"DELIVERY_URL": host}
        assert variant(f"{host}/other-hash/a/b/public", "avatar") == f"{host}/other-hash/a/b/avatar"
        assert variant(f"{BASE}/a/public", "avatar") == f"{BASE}/a/avatar", "Cloudflare's own always is"

    @pytest.mark.parametrize(
        "url",
        [
            f"{BASE}/a/public?exp=1893456000&sig=d6d418",
            f"{BASE}/a/public?sig=d6d418",
            f"{BASE}/a",
            f"{BASE}/a/public#fragment",
            "https://imagedelivery.net//[/a/public",
            "https://example.com/test-hash/a/public",
            "https://example.com/media/a.jpg",
            "//imagedelivery.net/test-hash/a/public",
            "//example.com/cf-images/local/public/a.jpg",
            "//[",
            "/static/logo.png",
            "/unknown/a.jpg",
            "/media/",
            "data:image/png;base64,AAAA",
            "/admin/",
            "/cf-images/upload-by-url/",
        ],
    )
    def test_a_signed_or_foreign_url_comes_back_unchanged(self, url: str, local: Any) -> None:
        assert variant(url, "avatar") == url

    def test_other_queries_stay(self) -> None:
        assert variant(f"{BASE}/a/public?download=1", "avatar") == f"{BASE}/a/avatar?download=1"

    @pytest.mark.parametrize("nothing", ["", None, SafeString("")])
    def test_nothing_gives_the_empty_string(self, nothing: Any) -> None:
        assert variant(nothing, "avatar") == ""

    @pytest.mark.parametrize("bad", ["", None, "a b", "../x"])
    @pytest.mark.parametrize("url", [f"{BASE}/a/public", "https://example.com/a.jpg", "/media/a.jpg"])
    def test_a_variant_that_is_none_is_an_error_everywhere(self, bad: Any, url: str) -> None:
        with pytest.raises(InvalidVariantError):
            variant(url, bad)

    def test_a_lazy_string_is_a_string(self) -> None:
        assert variant(lazystr(f"{BASE}/a/public"), "avatar") == f"{BASE}/a/avatar"
        assert variant(f"{BASE}/a/public", lazystr("avatar")) == f"{BASE}/a/avatar"

    @pytest.mark.parametrize("piece", ["a/", "%2F", "?", "&sig", "[", "//"])
    def test_a_hundred_thousand_characters_are_read(self, piece: str) -> None:
        assert variant(f"{BASE}/" + piece * 50_000, "avatar")
        assert variant("/" + piece * 50_000, "avatar")


class TestLocalURLs:
    def test_the_original_gets_the_local_rendering(self, local: Any) -> None:
        assert variant(f"/media/{NAME}", "avatar") == f"/cf-images/local/avatar/{NAME}"

    def test_a_rendering_gets_another_variant_and_is_quoted_once(self, local: Any) -> None:
        first = variant(local.url("a b é%.jpg"), "avatar")
        assert first == "/cf-images/local/avatar/a%20b%20%C3%A9%25.jpg"
        assert variant(first, "w=9") == "/cf-images/local/w=9/a%20b%20%C3%A9%25.jpg"

    def test_a_query_behind_a_rendering_stays(self, local: Any) -> None:
        assert variant("/cf-images/local/avatar/a.jpg?v=2", "w=9") == "/cf-images/local/w=9/a.jpg?v=2"

    @pytest.mark.parametrize("rest", ["?v=2", "#top", "?v=2#top"])
    def test_a_query_behind_the_original_is_no_part_of_its_name(self, rest: str, local: Any) -> None:
        assert variant(f"/media/a.jpg{rest}", "avatar") == "/cf-images/local/avatar/a.jpg"

    def test_with_the_view_off_the_original_stays(self) -> None:
        assert variant("/media/a.jpg", "avatar") == "/media/a.jpg"

    def test_a_media_url_on_another_host_works_too(self, local: Any, settings: Any) -> None:
        settings.MEDIA_URL = "https://media.example/files/"
        assert variant("https://media.example/files/a.jpg", "avatar") == "/cf-images/local/avatar/a.jpg"

    def test_without_a_media_url_no_path_of_the_site_is_taken_for_an_image(
        self, local: Any, settings: Any
    ) -> None:
        settings.MEDIA_URL = ""
        assert variant("/static/logo.png", "avatar") == "/static/logo.png"
        assert variant("/cf-images/local/public/a.jpg", "avatar") == "/cf-images/local/avatar/a.jpg"

    def test_a_local_alias_of_another_class_or_none_leaves_urls_alone(self, settings: Any) -> None:
        settings.DEBUG = True
        settings.CF_IMAGES = {"LOCAL_ALIAS": "staticfiles"}
        assert variant("/media/a.jpg", "avatar") == "/media/a.jpg"
        settings.CF_IMAGES = {"LOCAL_ALIAS": "missing"}
        assert variant("/media/a.jpg", "avatar") == "/media/a.jpg"

    def test_without_the_view_mounted_the_page_still_works(self, local: Any, settings: Any) -> None:
        settings.ROOT_URLCONF = type("urls", (), {"urlpatterns": []})
        assert variant("/media/a.jpg", "avatar") == "/media/a.jpg"
        assert variant(field_file(local), "avatar") == f"/media/{NAME}"

    def test_a_project_without_urls_still_works(self, local: Any, settings: Any) -> None:
        del settings.ROOT_URLCONF
        assert variant("/media/a.jpg", "avatar") == "/media/a.jpg"
        assert variant(field_file(local), "avatar") == f"/media/{NAME}"

    def test_a_namespace_of_the_project_does_not_matter(self, local: Any, settings: Any) -> None:
        inner = ([path("images/", include("cf_images.urls", namespace="pictures"))], "shop")
        settings.ROOT_URLCONF = type("urls", (), {"urlpatterns": [path("shop/", include(inner))]})
        url = "/shop/images/local/avatar/a%20b.jpg"
        assert replace_variant(url, "w=9") == "/shop/images/local/w=9/a%20b.jpg"

    @pytest.mark.parametrize("app_name", ["shop", None])
    def test_a_view_of_the_project_with_the_same_name_is_foreign(
        self, app_name: str | None, settings: Any
    ) -> None:
        own = [path("x/<str:variant>/<path:name>", lambda request: None, name="local_variant")]
        patterns = [path("", include((own, app_name)))] if app_name else own
        settings.ROOT_URLCONF = type("urls", (), {"urlpatterns": patterns})
        assert variant("/x/avatar/a.jpg", "w=9") == "/x/avatar/a.jpg"

    @pytest.mark.parametrize(
        "url",
        [
            f"{BASE}/\ud800/public",
            f"{BASE}/a/public?sig=\ud800",
            "/cf-images/local/avatar/\ud800",
            "/cf-images/pending/avatar/a?key=\ud800&exp=1",
            "/media/\ud800",
            "/\t/[x",
            "/\n/\u2100/a",
        ],
    )
    def test_a_string_that_is_not_a_url_comes_back_unchanged(self, local: Any, url: str) -> None:
        assert variant(url, "avatar") == url

    def test_what_else_the_route_captures_stays(self, settings: Any) -> None:
        routes = [path("<slug:tenant>/images/", include("cf_images.urls"))]
        settings.ROOT_URLCONF = type("urls", (), {"urlpatterns": routes})
        changed = variant("/acme/images/pending/avatar/a.jpg", "w=9")
        assert changed.partition("?")[0] == "/acme/images/pending/w=9/a.jpg"
        assert variant(changed, "avatar") == "/acme/images/pending/avatar/a.jpg"


class TestWaitingURLs:
    """The address that an image has before Cloudflare has it."""

    @pytest.mark.parametrize("query", ["", "?signature=abc:def"])
    def test_the_waiting_view_gets_the_new_variant_and_keeps_its_query(self, query: str) -> None:
        url = reverse("cf_images:pending", args=["public", "a b é%.jpg"]) + query
        expected = reverse("cf_images:pending", args=["avatar", "a b é%.jpg"]) + query
        assert variant(url, "avatar") == expected
        flexible = variant(url, "w=9")
        assert "/w%3D9/" in flexible or "/w=9/" in flexible
        assert pending_urls.is_requested("a b é%.jpg", "w=9", dict(parse_qsl(urlsplit(flexible).query)))
        assert variant(variant(flexible, "h=8"), "avatar").partition("?")[0] == expected.partition("?")[0]
        assert "by=" not in variant(flexible, "avatar")

    def test_a_signature_is_for_one_name_and_no_beginning_of_it(self) -> None:
        found = pending_url("jane~1.jpg:x", "avatar", expires_at=9_999_999_999) or ""
        key = dict(parse_qsl(urlsplit(found).query))["key"]
        assert signed_until("jane~1.jpg:x", "avatar", {"exp": "9999999999", "key": key})
        for other in (key, f"x:{key}"):
            assert not signed_until("jane~1.jpg", "avatar", {"exp": "9999999999", "key": other})


class TestScriptPrefix:
    @pytest.fixture(autouse=True)
    def below(self) -> Iterator[None]:
        set_script_prefix("/below/")
        yield
        clear_script_prefix()

    def test_a_site_below_a_path_works(self, local: Any) -> None:
        url = "/below/cf-images/local/avatar/a.jpg"
        assert variant(field_file(local, "a.jpg"), "avatar") == url
        assert variant(url, "w=9") == "/below/cf-images/local/w=9/a.jpg"
        assert variant("/cf-images/local/avatar/a.jpg", "w=9") == "/cf-images/local/avatar/a.jpg"


class TestTemplates:
    def test_the_two_lines_of_the_readme(self) -> None:
        profile = Profile(image=NAME)
        page = rendered("""<img src="{{ profile.image|variant:'avatar' }}">""", profile=profile)
        page += rendered("""<img src="{{ profile.image.url|variant:'w=200' }}">""", profile=profile)
        assert page == f'<img src="{BASE}/{NAME}/avatar"><img src="{BASE}/{NAME}/w=200">'

    def test_an_empty_field_makes_an_empty_attribute(self) -> None:
        assert rendered("[{{ profile.image|variant:'avatar' }}]", profile=Profile()) == "[]"
        assert rendered("[{{ missing.image|variant:'avatar' }}]") == "[]"

    def test_a_hostile_url_is_escaped(self) -> None:
        url = 'https://x/"><script>alert(1)</script>'
        assert rendered("{{ url|variant:'avatar' }}", url=url) == (
            "https://x/&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;"
        )
        assert "<script>" not in rendered("{{ url|variant:'avatar' }}", url=f"{BASE}/{url}/public")

    def test_a_query_is_escaped_once(self) -> None:
        page = rendered("{{ url|variant:'avatar' }}", url=f"{BASE}/a/public?x=1&y=2")
        assert page == f"{BASE}/a/avatar?x=1&amp;y=2"

    def test_what_was_safe_is_unsafe_after_a_change(self) -> None:
        changed = variant(mark_safe(f"{BASE}/a/public?x=<b>"), "avatar")
        assert not isinstance(changed, SafeString)
        assert rendered("{{ url|variant:'w=9' }}", url=mark_safe(f"{BASE}/a/public?<b>")).endswith(
            "?&lt;b&gt;"
        )

    def test_the_filter_can_be_chained(self) -> None:
        assert (
            rendered("{{ url|variant:'w=9'|variant:'avatar' }}", url=f"{BASE}/a/public") == f"{BASE}/a/avatar"
        )


@pytest.mark.django_db
def test_no_filter_makes_a_request_or_a_query(cloudflare: Any, local: Any) -> None:
    image = Profile(image=NAME).image
    with CaptureQueriesContext(connection) as queries:
        for given in (image, image.url, field_file(local), f"/media/{NAME}", "/x", "https://example.com/x"):
            assert variant(given, "avatar")
    assert len(queries) == 0
    assert cloudflare.requests == []
