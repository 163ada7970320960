"""The view of pending images: an image in every state, and no way to misuse it."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest
from django.core.files.storage import storages
from django.db import OperationalError, connection
from django.test import Client
from PIL import ExifTags, Image

from cf_images import rendering
from cf_images.background import delete, upload_from_url
from cf_images.client import fetch_delivery_url
from cf_images.models import Rendition, State, Upload
from cf_images.storage.pending_urls import pending_url
from cf_images.views import pending as view
from cf_images.views import render_slots
from cf_images.views.render_slots import BusyError
from cf_images.views.responses import placeholder
from tests.background import conftest as background
from tests.background.conftest import ALIAS, work
from tests.pictures import encoded, picture

pytestmark = pytest.mark.django_db

Accept = Callable[..., Upload]
# The fixtures of background uploads.
accept, cloudflare, fresh_process = background.accept, background.cloudflare, background.fresh_process

SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script>alert(1)</script></svg>'


@pytest.fixture
def browser() -> Iterator[Client]:
    return Client()


def url_of(row: Upload, variant: str = "w=20", *, seconds: int = 60) -> str:
    expires_at = int(time.time()) + seconds if row.require_signed_urls else None
    found = pending_url(row.name, variant, expires_at=expires_at)
    assert found is not None
    return found


def made_up(row: Upload, variant: str = "w=20") -> str:
    """Return the same as a visitor may write it: without this site's signature."""
    return url_of(row, variant).partition("?")[0]


@cache
def animation(frames: int) -> bytes:
    """A GIF of narrow stripes that move."""
    stripes = [Image.linear_gradient("L").resize((200, 200)) for _ in range(2)]
    stripes = [
        one.point(lambda value, n=n: 255 if (value // 4 + n) % 2 else 0) for n, one in enumerate(stripes)
    ]
    images = [stripes[number % 2] for number in range(frames)]
    return encoded(images[0], "GIF", save_all=True, append_images=images[1:], duration=50)


@cache
def photo_with_gps() -> bytes:
    """A JPEG that says where and with what it was taken."""
    exif = Image.Exif()
    exif[ExifTags.Base.Model] = "Secret Camera"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = (48.0, 8.0, 14.0)
    with Image.open(io.BytesIO(picture("JPEG", (300, 300)))) as image:
        return encoded(image, "JPEG", exif=exif)


def body(response: Any) -> bytes:
    return b"".join(response) if response.streaming else response.content


def test_pending_image_is_served_and_cannot_run_scripts(accept: Accept, browser: Client) -> None:
    response = browser.get(made_up(accept()))
    assert response.status_code == 200
    assert body(response) == picture()
    assert response["Content-Type"] == "image/png"
    assert response["Cache-Control"] == "no-cache"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Content-Security-Policy"] == "default-src 'none'; sandbox"


def test_named_variant_is_rendered(accept: Accept, browser: Client) -> None:
    row = accept(picture(size=(600, 400)))
    response = browser.get(url_of(row, "avatar"))
    with Image.open(io.BytesIO(body(response))) as image:
        assert image.size == (240, 240)
    assert "Accept" in response["Vary"]


class TestRenditions:
    """Named variants are rendered once, and whatever would take long is a placeholder."""

    def test_it_is_computed_once_for_all_processes(
        self, accept: Accept, browser: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url = url_of(accept(picture(size=(600, 400))), "avatar")
        first = browser.get(url)
        monkeypatch.setattr(rendering, "render", None)
        monkeypatch.setattr(view.chunks, "copy", None)
        render_slots.clear()  # another process
        again = browser.get(url)
        assert (body(again), again["Content-Type"]) == (body(first), first["Content-Type"])

    def test_a_rendition_that_was_kept_meanwhile_is_not_computed_again(
        self, accept: Accept, browser: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Another request has rendered it between the first look and the turn of this one."""
        row = accept(picture(size=(600, 400)))

        def after_another(key: Any, work: Any) -> Any:
            monkeypatch.setattr(view, "render_once", render_slots.render_once)
            other = browser.get(url_of(row, "avatar"))
            monkeypatch.setattr(rendering, "render", None)
            found = work()
            assert bytes(found.data) == body(other)
            return found

        monkeypatch.setattr(view, "render_once", after_another)
        assert browser.get(url_of(row, "avatar")).status_code == 200

    def test_a_browser_that_has_it_is_told_so(self, accept: Accept, browser: Client) -> None:
        url = url_of(accept(picture(size=(600, 400))), "avatar")
        etag = browser.get(url)["ETag"]
        again = browser.get(url, headers={"If-None-Match": etag})
        assert (again.status_code, body(again), again["ETag"]) == (304, b"", etag)
        assert browser.get(url, headers={"If-None-Match": '"other"'}).status_code == 200
        tags = [etag, browser.get(url, headers={"Accept": "image/webp"})["ETag"]]
        tags += [browser.get(url.replace("/avatar/", "/public/"))["ETag"]]
        assert len(set(tags)) == 3

    def test_another_declaration_is_another_rendition(
        self, accept: Accept, browser: Client, settings: Any
    ) -> None:
        url = url_of(accept(picture(size=(600, 400))), "avatar")
        browser.get(url)
        settings.CF_IMAGES = {**settings.CF_IMAGES, "VARIANTS": {"avatar": {"width": 20}}}
        with Image.open(io.BytesIO(body(browser.get(url)))) as image:
            assert image.width == 20

    @pytest.mark.parametrize("accepted", ["image/avif,image/webp", "text/html", "image/webp;q=0.1, */*"])
    def test_what_a_browser_accepts_counts_only_where_it_matters(
        self, accept: Accept, browser: Client, settings: Any, accepted: str
    ) -> None:
        fixed = {"width": 20, "format": "jpeg"}
        settings.CF_IMAGES = {**settings.CF_IMAGES, "VARIANTS": {"fixed": fixed}}
        url = url_of(accept(), "public")
        for header in ("", "*/*", "image/png", "text/html"):
            browser.get(url, headers={"Accept": header})
        assert Rendition.objects.count() == 1
        browser.get(url, headers={"Accept": accepted})
        assert Rendition.objects.count() <= 2

    def test_renditions_are_deleted_with_the_bytes(self, accept: Accept, browser: Client) -> None:
        browser.get(url_of(accept(), "avatar"))
        assert Rendition.objects.exists()
        work()
        assert not Rendition.objects.exists()

    def test_renditions_are_deleted_with_the_image(self, accept: Accept, browser: Client) -> None:
        row = accept()
        browser.get(url_of(row, "avatar"))
        delete(row.name, ALIAS)
        work()
        assert not Rendition.objects.exists()

    def test_no_rendition_is_kept_once_the_image_is_stored(
        self, accept: Accept, browser: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        render = rendering.render

        def work_first(*arguments: Any, **options: Any) -> Any:
            work()
            return render(*arguments, **options)

        monkeypatch.setattr(rendering, "render", work_first)
        assert browser.get(url_of(accept(), "avatar")).status_code == 200
        assert not Rendition.objects.exists()

    def test_a_database_that_keeps_nothing_is_no_error(
        self, accept: Accept, browser: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: Any, **__: Any) -> Any:
            raise OperationalError

        monkeypatch.setattr("django.db.models.QuerySet.bulk_create", fail)
        assert browser.get(url_of(accept(picture(size=(600, 400))), "avatar"))["Content-Type"] == "image/png"

    @pytest.mark.parametrize("name", ["damaged", "expensive", "long animation"])
    def test_what_cannot_be_rendered_is_a_placeholder_and_not_tried_again(
        self, accept: Accept, browser: Client, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        bodies = {
            "damaged": picture("JPEG", size=(300, 300))[:900],
            "expensive": picture(size=(600, 400)),
            "long animation": animation(300),
        }
        monkeypatch.setattr(view, "MAX_SECONDS", 0.001 if name == "expensive" else 0.3)
        url = url_of(accept(bodies[name], filename="x.gif"), "avatar")
        response = browser.get(url)
        if name == "long animation":
            with Image.open(io.BytesIO(body(response))) as image:
                assert (image.size, getattr(image, "n_frames", 1)) == ((240, 240), 1)
        else:
            assert body(response) == placeholder().content
            assert response["Cache-Control"] == "no-cache"
        monkeypatch.setattr(rendering, "render", None)
        assert body(browser.get(url)) == body(response)

    def test_a_large_rendition_is_a_placeholder(
        self, accept: Accept, browser: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(view, "_MAX_RENDITION_BYTES", 10)
        assert body(browser.get(url_of(accept(), "avatar"))) == placeholder().content

    def test_a_busy_process_gives_a_placeholder_that_is_not_kept(
        self, accept: Accept, browser: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def busy(*_: Any) -> Any:
            raise BusyError

        monkeypatch.setattr(view, "render_once", busy)
        response = browser.get(url_of(accept(), "avatar"))
        assert (response.status_code, body(response)) == (200, placeholder().content)
        assert response["Cache-Control"] == "no-store"
        assert response["Retry-After"] == "1"
        assert "ETag" not in response

    def test_location_and_camera_are_removed_as_the_variant_says(
        self, accept: Accept, browser: Client
    ) -> None:
        response = browser.get(url_of(accept(photo_with_gps(), filename="x.jpg"), "avatar"))
        assert b"Exif" not in body(response)
        assert b"Secret Camera" not in body(response)


class TestOriginal:
    """It leaves only where Cloudflare would give it to everyone, too: by a flexible variant."""

    @pytest.mark.parametrize("variant", ["w=10", "undeclared"])
    def test_where_flexible_variants_may_be_on_the_original_is_served(
        self, accept: Accept, browser: Client, variant: str
    ) -> None:
        assert body(browser.get(made_up(accept(photo_with_gps()), variant))) == photo_with_gps()

    def test_where_they_are_off_it_is_a_placeholder(
        self, accept: Accept, browser: Client, settings: Any
    ) -> None:
        settings.CF_IMAGES = {**settings.CF_IMAGES, "FLEXIBLE_VARIANTS": False}
        row = accept(photo_with_gps())
        assert body(browser.get(url_of(row, "undeclared"))) == placeholder().content
        assert browser.get("/cf-images/pending/w=10/" + row.name).status_code == 404

    @pytest.mark.parametrize("name", ["huge", "damaged", "animated"])
    def test_a_named_variant_is_never_the_original(
        self, accept: Accept, browser: Client, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        original = {
            "huge": photo_with_gps(),
            "damaged": photo_with_gps()[:-900],
            "animated": animation(300),
        }[name]
        monkeypatch.setattr(view, "MAX_PIXELS", 100 if name == "huge" else view.MAX_PIXELS)
        monkeypatch.setattr(rendering, "MAX_ANIMATION_PIXELS", 10)
        sent = body(browser.get(url_of(accept(original), "public")))
        assert sent != original
        assert b"Secret Camera" not in sent


@pytest.mark.parametrize(
    "name",
    [
        "x%2f..%2f..%2fOTHER%2fimg",
        "x/../../OTHER/img",
        "..%2fOTHER%2fimg",
        "x%252f..%252f..%252fOTHER",
        "%252e%252e/OTHER/img",
        "x%5c..%5c..%5cOTHER",
        "a/./b",
        "..",
    ],
)
def test_no_name_leads_out_of_the_accounts_path(cloudflare: Any, browser: Client, name: str) -> None:
    response = browser.get(f"/cf-images/pending/public/{name}")
    assert response.status_code == 404
    assert "Location" not in response


def test_svg_is_only_offered_as_a_download(accept: Accept, browser: Client) -> None:
    response = browser.get(url_of(accept(SVG, filename="x.svg"), "avatar"))
    assert response["Content-Type"] == "image/svg+xml"
    assert response["Content-Disposition"].startswith("attachment")
    assert body(response) == SVG


def test_rejected_image_is_still_served(accept: Accept, browser: Client) -> None:
    row = accept()
    Upload.objects.update(state=State.REJECTED)
    assert body(browser.get(made_up(row))) == picture()


def test_stored_image_redirects_to_cloudflare(accept: Accept, browser: Client) -> None:
    row = accept()
    work()
    response = browser.get(url_of(row))
    assert response.status_code == 302
    assert response["Location"] == storages[ALIAS].final_url(row.name, "w=20")
    assert response["Cache-Control"] == "no-cache"


def test_image_without_a_row_redirects_to_cloudflare(cloudflare: Any, browser: Client) -> None:
    response = browser.get("/cf-images/pending/public/photos/old.png")
    assert response["Location"] == storages[ALIAS].final_url("photos/old.png", "public")


def test_name_with_a_nul_is_not_found(cloudflare: Any, browser: Client) -> None:
    assert browser.get("/cf-images/pending/public/photos/old%00.png").status_code == 404


def test_deleted_image_is_not_found(accept: Accept, browser: Client) -> None:
    row = accept()
    delete(row.name, ALIAS)
    assert browser.get(url_of(row)).status_code == 404


def test_image_stored_while_it_is_read_redirects_to_cloudflare(
    accept: Accept, browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = accept()
    copy = view.chunks.copy

    def work_first(upload: Upload, *, using: str) -> Any:
        monkeypatch.setattr(view.chunks, "copy", copy)
        work()
        return copy(upload, using=using)

    monkeypatch.setattr(view.chunks, "copy", work_first)
    assert browser.get(url_of(row)).status_code == 302


def test_upload_by_url_shows_a_placeholder_and_never_its_source(cloudflare: Any, browser: Client) -> None:
    name = upload_from_url("https://intranet.example.com/secret.png")
    response = browser.get(url_of(Upload.objects.get(name=name)))
    assert response["Content-Type"] == "image/gif"
    assert "example.com" not in f"{response.headers} {body(response)!r}"
    with Image.open(io.BytesIO(body(response))) as image:
        assert image.size == (1, 1)


@pytest.mark.parametrize("variant", ["no-variant!", "w=1<script>", "x y"])
def test_invalid_variant_is_not_found(accept: Accept, browser: Client, variant: str) -> None:
    assert browser.get(f"/cf-images/pending/{variant}/{accept().name}").status_code == 404


def test_only_get_and_head_are_allowed(accept: Accept, browser: Client) -> None:
    assert browser.post(url_of(accept())).status_code == 405


class TestPrivate:
    @pytest.fixture
    def row(self, accept: Accept) -> Upload:
        return accept(require_signed_urls=True)

    def test_signed_url_serves_it_and_is_never_cached(self, row: Upload, browser: Client) -> None:
        response = browser.get(url_of(row, "public"))
        with Image.open(io.BytesIO(body(response))) as image:
            assert image.size == (64, 48)
        assert response["Cache-Control"] == "private, no-store"

    @pytest.mark.parametrize("variant", ["w=20", "undeclared"])
    def test_the_original_is_never_served(self, row: Upload, browser: Client, variant: str) -> None:
        response = browser.get(url_of(row, variant))
        assert body(response) == placeholder().content
        assert response["Cache-Control"] == "private, no-store"

    def test_an_svg_is_a_placeholder(self, accept: Accept, browser: Client) -> None:
        row = accept(SVG, filename="x.svg", require_signed_urls=True)
        assert body(browser.get(url_of(row, "public"))) == placeholder().content

    def test_a_teaser_shows_neither_the_bytes_nor_the_frames_of_a_large_animation(
        self, accept: Accept, browser: Client, settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        teaser = {"width": 64, "blur": 50, "never_require_signed_urls": True}
        settings.CF_IMAGES = {**settings.CF_IMAGES, "VARIANTS": {"teaser": teaser}}
        monkeypatch.setattr(rendering, "MAX_ANIMATION_PIXELS", 10)  # above it, Cloudflare changes nothing
        row = accept(animation(300), filename="x.gif", require_signed_urls=True)
        bare = url_of(row, "teaser").partition("?")[0]
        sent = body(browser.get(bare))
        assert sent != animation(300)
        with Image.open(io.BytesIO(sent)) as image:
            assert getattr(image, "n_frames", 1) == 1
            low, high = image.convert("L").getextrema()
            assert high - low < 80, "the blur hides the stripes"
        assert browser.get(bare.replace("teaser", "public")).status_code == 403

    def test_signature_is_for_one_variant(self, row: Upload, browser: Client) -> None:
        assert browser.get(url_of(row, "avatar").replace("avatar", "public")).status_code == 403

    @pytest.mark.parametrize("stored", [False, True])
    def test_without_a_valid_signature_it_is_forbidden(
        self, row: Upload, accept: Accept, browser: Client, *, stored: bool
    ) -> None:
        other = accept(require_signed_urls=True)
        if stored:
            work()
        bare, _, query = url_of(row).partition("?")
        later = query.replace("exp=", "exp=9")
        of_another = url_of(other).partition("?")[2]
        wrong = ("", "key=", "exp=&key=x:y", of_another, f"{query}x", later)
        for invalid in (*wrong, "exp=²&key=x", f"exp={'9' * 5000}&key=x"):
            assert browser.get(f"{bare}?{invalid}").status_code == 403

    def test_expired_signature_is_forbidden(self, row: Upload, browser: Client) -> None:
        assert browser.get(url_of(row, seconds=-1)).status_code == 403

    def test_once_stored_it_redirects_to_a_signed_url_with_the_same_expiry(
        self, row: Upload, browser: Client
    ) -> None:
        signed = url_of(row, "avatar", seconds=77)
        work()
        location = browser.get(signed)["Location"]
        assert fetch_delivery_url(location).is_image
        assert f"?exp={signed.partition('exp=')[2].partition('&')[0]}&sig=" in location

    def test_without_signing_keys_it_is_a_bad_gateway(
        self, row: Upload, browser: Client, cf_images_emulator: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        work()
        cf_images_emulator.faults.plan("500", times=9)
        response = browser.get(url_of(row, "avatar"))
        assert response.status_code == 502
        assert response.content == b"The image cannot be shown at the moment."
        assert "signing keys" in caplog.text, "the reason is for the log, not for visitors"

    def test_variant_that_is_never_signed_needs_no_signature(
        self, row: Upload, browser: Client, settings: Any
    ) -> None:
        tiny = {"width": 8, "height": 8, "fit": "cover", "never_require_signed_urls": True}
        settings.CF_IMAGES = {**settings.CF_IMAGES, "VARIANTS": {"tiny": tiny}}
        bare = url_of(row, "tiny").partition("?")[0]
        assert Image.open(io.BytesIO(body(browser.get(bare)))).size == (8, 8)

    def test_variant_that_is_never_signed_never_shows_the_original(
        self, row: Upload, browser: Client, settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings.CF_IMAGES = {**settings.CF_IMAGES, "VARIANTS": {"tiny": {"neverRequireSignedURLs": True}}}
        monkeypatch.setattr(view, "MAX_PIXELS", 1)  # too large to be rendered in a web process
        response = browser.get(url_of(row, "tiny").partition("?")[0])
        assert response.status_code == 200
        assert body(response) == placeholder().content


@pytest.mark.django_db(transaction=True)
def test_row_is_not_locked_while_its_image_is_rendered(
    accept: Accept, browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ATOMIC_REQUESTS, a request that claims a rendition would lock workers and other visitors out."""
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    row, transactions = accept(), []
    real = rendering.render

    def render(*args: Any, **options: Any) -> Any:
        transactions.append(connection.in_atomic_block)
        return real(*args, **options)

    monkeypatch.setattr(rendering, "render", render)
    assert browser.get(url_of(row)).status_code == 200
    assert transactions == [False]
