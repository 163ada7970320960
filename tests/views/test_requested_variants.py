"""Flexible variants before Cloudflare has the image: a template's are rendered, a visitor's are not."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.test import Client
from PIL import Image

from cf_images import rendering
from cf_images.markup import image_tag, variant_url
from cf_images.models import Rendition, Upload
from cf_images.storage.pending_urls import is_requested, pending_url, requested_query
from cf_images.views import local as local_view
from cf_images.views import pending as view
from cf_images.views import render_slots
from cf_images.views.responses import placeholder
from tests.app.models import Profile
from tests.background import conftest as background
from tests.background.conftest import ALIAS, use_background_storage, work
from tests.pictures import picture

pytestmark = pytest.mark.django_db

Accept = Callable[..., Upload]
# The fixtures of background uploads.
accept, cloudflare, fresh_process = background.accept, background.cloudflare, background.fresh_process
ORIGINAL = picture(size=(600, 400))


@pytest.fixture(autouse=True)
def _free_slots() -> None:
    render_slots.clear()


@pytest.fixture
def row(accept: Accept) -> Upload:
    return accept(ORIGINAL)


def url_of(row: Upload, variant: str = "w=200") -> str:
    return str(storages[ALIAS].url(row.name, variant))


def body(response: Any) -> bytes:
    return b"".join(response) if response.streaming else response.content


def size(response: Any) -> tuple[int, int]:
    return Image.open(io.BytesIO(body(response))).size


class TestPending:
    @pytest.mark.parametrize(
        ("variant", "expected"),
        [("w=200", (200, 133)), ("width=50,height=50,fit=cover", (50, 50)), ("h=100", (150, 100))],
    )
    def test_what_a_template_asks_for_has_its_size(
        self, row: Upload, client: Client, variant: str, expected: tuple[int, int]
    ) -> None:
        assert size(client.get(url_of(row, variant))) == expected

    def test_what_a_visitor_makes_up_is_not_rendered(
        self, row: Upload, accept: Accept, client: Client
    ) -> None:
        signed, other = url_of(row), url_of(accept(ORIGINAL))
        key = signed.partition("by=")[2]
        for made_up in (
            signed.partition("?")[0],
            signed.replace("w=200", "w=201").replace("w%3D200", "w%3D201"),
            f"{other.partition('?')[0]}?by={key}",
            f"{signed}x",
            f"{signed.partition('?')[0]}?by=",
            f"{signed.partition('?')[0]}?by=x:{key}",
        ):
            assert body(client.get(made_up)) == ORIGINAL
        assert not Rendition.objects.exists()

    def test_the_url_is_always_the_same_and_its_response_can_be_kept(
        self, row: Upload, client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url = url_of(row)
        first = client.get(url)
        monkeypatch.setattr(time, "time", lambda: 4e9)
        assert pending_url(row.name, "w=200") == url
        again = client.get(url, headers={"If-None-Match": first["ETag"]})
        assert (again.status_code, again["Cache-Control"]) == (304, "no-cache")

    def test_equal_options_are_one_rendition(self, row: Upload, client: Client) -> None:
        for variant in ("w=200,h=100", "width=200,height=100"):
            assert client.get(url_of(row, variant)).status_code == 200
        assert Rendition.objects.count() == 1

    def test_it_survives_a_new_secret_key(self, row: Upload, client: Client, settings: Any) -> None:
        url = url_of(row)
        settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "new", [settings.SECRET_KEY]
        assert size(client.get(url)) == (200, 133)
        assert url_of(row) != url
        settings.SECRET_KEY_FALLBACKS = []
        assert body(client.get(url)) == ORIGINAL

    def test_it_redirects_once_the_image_is_stored(self, row: Upload, client: Client) -> None:
        url = url_of(row)
        work()
        assert client.get(url)["Location"] == storages[ALIAS].final_url(row.name, "w=200")

    def test_it_costs_no_more_than_a_named_variant(
        self, row: Upload, client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert size(client.get(url_of(row))) == (200, 133)
        monkeypatch.setattr(rendering, "render", None)
        assert size(client.get(url_of(row))) == (200, 133), "it is rendered once"
        monkeypatch.undo()
        for limit in ("MAX_SECONDS", "MAX_PIXELS"):
            with monkeypatch.context() as patch:
                patch.setattr(view, limit, 1e-9 if limit == "MAX_SECONDS" else 1)
                name = f"w={90 + len(limit)}"
                assert body(client.get(url_of(row, name))) == placeholder().content

    def test_only_so_many_are_kept_of_one_image(
        self, row: Upload, client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("cf_images.background.renditions._MAX_RENDITIONS", 2)
        for width in (10, 20, 30, 40):
            render_slots.clear()
            assert size(client.get(url_of(row, f"w={width}")))[0] == width
        assert Rendition.objects.count() == 2

    def test_where_flexible_variants_are_off_it_is_not_found(
        self, row: Upload, client: Client, settings: Any
    ) -> None:
        url = url_of(row)
        settings.CF_IMAGES = {**settings.CF_IMAGES, "FLEXIBLE_VARIANTS": False}
        assert client.get(url).status_code == 404

    def test_an_svg_is_offered_as_before(self, accept: Accept, client: Client) -> None:
        svg = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'
        response = client.get(url_of(accept(svg, filename="x.svg")))
        assert (body(response), response["Content-Disposition"][:10]) == (svg, "attachment")

    def test_a_damaged_image_is_a_placeholder_and_not_the_original(
        self, accept: Accept, client: Client
    ) -> None:
        row = accept(picture("JPEG", size=(300, 300))[:900], filename="x.jpg")
        assert body(client.get(url_of(row))) == placeholder().content

    def test_tags_and_filters_ask_for_it(self, row: Upload, client: Client) -> None:
        image = Profile(image=row.name).image
        image.storage = storages[ALIAS]
        assert variant_url(image, "w=200") == variant_url(image.url, "w=200") == url_of(row)
        assert variant_url(url_of(row, "w=10"), "w=200") == url_of(row)
        assert variant_url(url_of(row, "w=10"), "avatar") == url_of(row, "avatar")
        assert url_of(row) in image_tag(image, w=200, alt="").replace("&amp;", "&")


class TestPrivate:
    """The signature of a template is no permission."""

    def test_it_gives_nothing_of_a_private_image(
        self, accept: Accept, client: Client, settings: Any, cloudflare: Any
    ) -> None:
        rows = [accept(ORIGINAL, require_signed_urls=True)]
        use_background_storage(settings, cloudflare)
        hidden = accept(ORIGINAL)
        Upload.objects.filter(pk=hidden.pk).update(require_signed_urls=True)
        for row in [*rows, hidden]:
            forged = pending_url(row.name, "w=200")
            assert forged is not None
            assert client.get(forged).status_code == 403
            expires_at = int(time.time()) + 60
            signed = pending_url(row.name, "w=200", expires_at=expires_at)
            both = f"{signed}&by={requested_query(row.name, 'w=200')['by']}"
            assert body(client.get(both)) == placeholder().content
        assert not Rendition.objects.exists()

    def test_neither_signature_is_taken_for_the_other(self) -> None:
        url = pending_url("a.png", "w=200", expires_at=9_999_999_999) or ""
        key = url.partition("key=")[2]
        assert not is_requested("a.png", "w=200", {"by": key})
        assert not is_requested("a.png", "9999999999:w=200", {"by": key})
        assert is_requested("a.png", "w=200", requested_query("a.png", "w=200"))


class TestLocal:
    """Local variants outside of DEBUG have the same rules."""

    @pytest.fixture
    def name(self, settings: Any, tmp_path: Path) -> str:
        settings.MEDIA_ROOT = tmp_path
        settings.CF_IMAGES = {**settings.CF_IMAGES, "SERVE_LOCAL_VARIANTS": True}
        return str(storages["default"].save("a é.png", ContentFile(ORIGINAL)))

    def test_what_a_template_asks_for_has_its_size(self, name: str, client: Client) -> None:
        url = storages["default"].url(name, "w=200")
        assert size(client.get(url)) == (200, 133)
        assert variant_url(storages["default"].url(name, "avatar"), "w=200") == url
        assert variant_url(url, "avatar") == storages["default"].url(name, "avatar")

    def test_what_a_visitor_makes_up_is_not_found(self, name: str, client: Client, tmp_path: Path) -> None:
        url = storages["default"].url(name, "w=200")
        for made_up in (url.partition("?")[0], url.replace("w=200", "w=99"), f"{url}x"):
            assert client.get(made_up).status_code == 404
        assert [path for path in tmp_path.rglob("*") if ".cf_images" in path.parts] == []

    def test_what_takes_long_is_the_original(
        self, name: str, client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(local_view, "MAX_SECONDS", 1e-9)
        assert client.get(storages["default"].url(name, "w=200"))["Location"] == f"/media/{name}"

    def test_in_debug_everything_is_rendered_and_nothing_signed(
        self, name: str, client: Client, settings: Any
    ) -> None:
        settings.DEBUG = True
        url = storages["default"].url(name, "w=200")
        assert "?" not in url
        assert variant_url(storages["default"].url(name, "avatar"), "w=200") == url
        assert size(client.get(url.replace("w=200", "w=99"))) == (99, 66)
