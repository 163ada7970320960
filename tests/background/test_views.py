"""The waiting view: the image in every phase, and nothing that a stranger could make of it."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.files.storage import storages
from django.test import Client
from django.urls import include, path
from PIL import Image

from cf_images.background import discard, upload_from_url, views, waiting_address
from cf_images.client import deliver
from cf_images.models import State, Upload
from tests.background.conftest import ALIAS, work
from tests.pictures import picture

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]

Accept = Callable[..., Upload]

_waiting = ([path("<variant>/<path:name>", views.pending_image, name="waiting")], "cf_images")
urlpatterns = [path("waiting/", include(_waiting))]

SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script>alert(1)</script></svg>'


@pytest.fixture
def browser() -> Iterator[Client]:
    return Client()


def address(row: Upload, variant: str = "w=20", *, seconds: int = 60) -> str:
    ends_at = int(time.time()) + seconds if row.require_signed_urls else None
    found = waiting_address(row.name, variant, ends_at=ends_at)
    assert found is not None
    return found


def body(response: Any) -> bytes:
    return b"".join(response) if response.streaming else response.content


def test_waiting_image_is_shown_and_cannot_run_scripts(accept: Accept, browser: Client) -> None:
    response = browser.get(address(accept()))
    assert response.status_code == 200
    assert body(response) == picture()
    assert response["Content-Type"] == "image/png"
    assert response["Cache-Control"] == "no-cache"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Content-Security-Policy"] == "default-src 'none'; sandbox"


def test_declared_variant_is_rendered(accept: Accept, browser: Client) -> None:
    row = accept(picture(size=(600, 400)))
    response = browser.get(address(row, "avatar"))
    with Image.open(io.BytesIO(body(response))) as image:
        assert image.size == (240, 240)
    assert "Accept" in response["Vary"]


def test_flexible_variant_and_huge_image_are_served_as_they_are(
    accept: Accept, browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = accept(picture(size=(600, 400)))
    assert body(browser.get(address(row, "w=10"))) == picture(size=(600, 400))
    monkeypatch.setattr(views, "_MOST_PIXELS", 600 * 400 - 1)
    assert body(browser.get(address(row, "avatar"))) == picture(size=(600, 400))


def test_damaged_image_is_served_as_it_is(accept: Accept, browser: Client) -> None:
    damaged = picture("JPEG", size=(300, 300))[:900]
    assert body(browser.get(address(accept(damaged), "avatar"))) == damaged


def test_svg_is_only_handed_over(accept: Accept, browser: Client) -> None:
    response = browser.get(address(accept(SVG, filename="x.svg"), "avatar"))
    assert response["Content-Type"] == "image/svg+xml"
    assert response["Content-Disposition"].startswith("attachment")
    assert body(response) == SVG


def test_rejected_image_is_still_shown(accept: Accept, browser: Client) -> None:
    row = accept()
    Upload.objects.update(state=State.REJECTED)
    assert body(browser.get(address(row))) == picture()


def test_stored_image_leads_to_cloudflare(accept: Accept, browser: Client) -> None:
    row = accept()
    work()
    response = browser.get(address(row))
    assert response.status_code == 302
    assert response["Location"] == storages[ALIAS].delivery_address(row.name, "w=20")
    assert response["Cache-Control"] == "no-cache"


def test_image_without_a_row_leads_to_cloudflare(cloudflare: Any, browser: Client) -> None:
    response = browser.get("/waiting/public/photos/old.png")
    assert response["Location"] == storages[ALIAS].delivery_address("photos/old.png", "public")


def test_a_nul_is_in_no_name(cloudflare: Any, browser: Client) -> None:
    assert browser.get("/waiting/public/photos/old%00.png").status_code == 404


def test_deleted_image_is_gone(accept: Accept, browser: Client) -> None:
    row = accept()
    discard(row.name, ALIAS)
    assert browser.get(address(row)).status_code == 404


def test_bytes_given_up_in_this_moment_lead_to_cloudflare(
    accept: Accept, browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = accept()
    copy = views.pieces.copy

    def delivered_first(upload: Upload) -> Any:
        work()
        return copy(upload)

    monkeypatch.setattr(views.pieces, "copy", delivered_first)
    assert browser.get(address(row)).status_code == 302


def test_upload_by_url_shows_a_placeholder_and_never_its_source(cloudflare: Any, browser: Client) -> None:
    name = upload_from_url("https://intranet.example.com/secret.png")
    response = browser.get(address(Upload.objects.get(name=name)))
    assert response["Content-Type"] == "image/gif"
    assert "example.com" not in f"{response.headers} {body(response)!r}"
    with Image.open(io.BytesIO(body(response))) as image:
        assert image.size == (1, 1)


@pytest.mark.parametrize("variant", ["no-variant!", "w=1<script>", "x y"])
def test_what_is_no_variant_is_not_found(accept: Accept, browser: Client, variant: str) -> None:
    assert browser.get(f"/waiting/{variant}/{accept().name}").status_code == 404


def test_only_reading_is_allowed(accept: Accept, browser: Client) -> None:
    assert browser.post(address(accept())).status_code == 405


class TestPrivate:
    @pytest.fixture
    def row(self, accept: Accept) -> Upload:
        return accept(require_signed_urls=True)

    def test_signed_address_shows_it_and_nobody_keeps_it(self, row: Upload, browser: Client) -> None:
        response = browser.get(address(row))
        assert body(response) == picture()
        assert response["Cache-Control"] == "private, no-store"

    def test_address_is_for_one_variant(self, row: Upload, browser: Client) -> None:
        assert browser.get(address(row, "avatar").replace("avatar", "public")).status_code == 403

    @pytest.mark.parametrize("stored", [False, True])
    def test_without_our_signature_it_is_forbidden(
        self, row: Upload, accept: Accept, browser: Client, *, stored: bool
    ) -> None:
        other = accept(require_signed_urls=True)
        if stored:
            work()
        bare, _, query = address(row).partition("?")
        later = query.replace("exp=", "exp=9")
        wrongs = ("", "key=", "exp=&key=x:y", address(other).partition("?")[2], f"{query}x", later)
        for wrong in (*wrongs, "exp=²&key=x", f"exp={'9' * 5000}&key=x"):
            assert browser.get(f"{bare}?{wrong}").status_code == 403

    def test_address_does_not_outlive_its_end(self, row: Upload, browser: Client) -> None:
        assert browser.get(address(row, seconds=-1)).status_code == 403

    def test_stored_it_leads_to_the_signed_address_until_the_same_moment(
        self, row: Upload, browser: Client
    ) -> None:
        signed = address(row, "avatar", seconds=77)
        work()
        there = browser.get(signed)["Location"]
        assert deliver(there).is_image
        assert f"?exp={signed.partition('exp=')[2].partition('&')[0]}&sig=" in there

    def test_without_signing_keys_it_is_a_bad_gateway(
        self, row: Upload, browser: Client, cf_images_emulator: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        work()
        cf_images_emulator.faults.plan("500", times=9)
        response = browser.get(address(row, "avatar"))
        assert response.status_code == 502
        assert response.content == b"The image cannot be reached at the moment."
        assert "signing keys" in caplog.text, "the reason is for the log, not for visitors"

    def test_a_variant_for_everybody_needs_no_signature(
        self, row: Upload, browser: Client, settings: Any
    ) -> None:
        tiny = {"width": 8, "height": 8, "fit": "cover", "never_require_signed_urls": True}
        settings.CF_IMAGES = {**settings.CF_IMAGES, "VARIANTS": {"tiny": tiny}}
        bare = address(row, "tiny").partition("?")[0]
        assert Image.open(io.BytesIO(body(browser.get(bare)))).size == (8, 8)

    def test_a_variant_for_everybody_never_shows_the_original(
        self, row: Upload, browser: Client, settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings.CF_IMAGES = {**settings.CF_IMAGES, "VARIANTS": {"tiny": {"neverRequireSignedURLs": True}}}
        monkeypatch.setattr(views, "_MOST_PIXELS", 1)  # too large to be rendered in a web process
        response = browser.get(address(row, "tiny").partition("?")[0])
        assert response.status_code == 200
        assert body(response) == views._PLACEHOLDER
