"""The element with Django's forms and admin, the real views, and Cloudflare's emulator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.signals import request_finished, request_started
from django.test import Client

from cf_images.models import Reservation, State
from tests.app.models import Album, Photo
from tests.app.models import Page as AlbumPage
from tests.browser.page.conftest import (
    AXE,
    CHROMEDRIVER,
    CHROMIUM,
    NEEDED,
    Page,
    keep,
    needs_axe,
    photo,
    start_chromium,
)

pytestmark = pytest.mark.django_db(transaction=True)


class LiveSite:
    """What ``Page`` needs to know about a site."""

    def __init__(self, url: str) -> None:
        self.url = url


@pytest.fixture(scope="module")
def driver(live_server: Any) -> Iterator[Any]:
    """A Chromium that ends before the server does, which would else have connections open at its end."""
    if not (CHROMIUM and CHROMEDRIVER):
        pytest.skip(NEEDED)
    running = start_chromium()
    yield running
    running.quit()


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of all requests to Django."""
    from django.core.handlers.wsgi import WSGIRequest

    found: list[int] = []
    original = WSGIRequest.__init__

    def counted(self: Any, environ: Any) -> None:
        found.append(int(environ.get("CONTENT_LENGTH") or 0))
        original(self, environ)

    monkeypatch.setattr(WSGIRequest, "__init__", counted)
    return found


@pytest.fixture
def all_answered() -> Iterator[Callable[[], bool]]:
    """Whether each request that has begun has ended: what a request does later, it would do to the next test.

    A discarded upload is deleted in its request here, since huey is in immediate mode.
    """
    begun: list[Any] = []
    ended: list[Any] = []

    def begin(sender: Any, **_: Any) -> None:
        begun.append(sender)

    def end(sender: Any, **_: Any) -> None:
        ended.append(sender)

    request_started.connect(begin)
    request_finished.connect(end)
    yield lambda: len(begun) == len(ended)
    request_started.disconnect(begin)
    request_finished.disconnect(end)


@pytest.fixture
def live(
    driver: Any,
    live_server: Any,
    settings: Any,
    cloudflare: Any,
    tmp_path: Path,
    all_answered: Callable[[], bool],
) -> Any:
    """The browser, logged in at the project."""
    settings.ROOT_URLCONF = "tests.browser.page.urls"
    settings.CF_IMAGES = {**settings.CF_IMAGES, "DIRECT_UPLOADS": True}
    client = Client()
    client.force_login(User.objects.create_superuser("jane"))
    page = Page(driver, LiveSite(live_server.url), tmp_path)  # type: ignore[arg-type]
    page.network()
    driver.get(f"{live_server.url}/cf-images/")
    driver.add_cookie({"name": "sessionid", "value": client.cookies["sessionid"].value, "path": "/"})
    yield page
    violations = page.violations()
    driver.get("about:blank")
    page.until(all_answered, "An answer")
    driver.delete_all_cookies()
    assert violations == []


def until_saved(page: Page) -> None:
    """Wait for the page after the form."""
    page.until(lambda: page.driver.title == "Saved", "saving")


def save(page: Page) -> None:
    """Save in the admin, and wait for its list."""
    page.find("input[name=_save]").click()
    page.until(lambda: "to change" in page.driver.title, "saving")


def test_a_model_form_saves_what_the_browser_has_uploaded(
    live: Page, sizes: list[int], cloudflare: Any
) -> None:
    body = photo((1500, 1000), quality=95)
    live.open("/photo/").choose(live.file("a photo.jpg", body), name="file")
    live.uploaded()
    live.find("#id_title").send_keys("A title")
    before = len(cloudflare.requests)
    live.submit()
    until_saved(live)
    row = Photo.objects.get()
    with row.file.open() as file:
        assert file.read() == body
    assert (row.width, row.height) == (1500, 1000)
    assert max(sizes) < 3000
    assert len(cloudflare.requests) - before <= 3, "two to save, one to read it here"


def test_a_form_with_an_error_keeps_the_upload(live: Page, cloudflare: Any) -> None:
    live.open("/photo/").choose(live.file("one.png", photo(kind="PNG")), name="file")
    live.uploaded()
    live.submit()
    live.until(lambda: "A title is needed." in live.find("main").text)
    live.uploaded()
    assert live.names() == ["one.png"]
    live.until(
        lambda: live.js("return document.querySelector('.cf-upload-thumb img')?.naturalWidth"), "preview"
    )
    live.find("#id_title").send_keys("A title")
    live.submit()
    until_saved(live)
    assert Photo.objects.get().width == 640
    assert Reservation.objects.count() == 1


def test_an_error_page_that_is_loaded_again_keeps_the_upload(live: Page) -> None:
    live.open("/photo/").choose(live.file("one.png", photo(kind="PNG")), name="file")
    live.uploaded()
    live.driver.refresh()
    live.uploaded()
    live.find("#id_title").send_keys("A title")
    live.submit()
    until_saved(live)
    assert Photo.objects.count() == 1


def test_a_saved_form_that_is_gone_back_to_attaches_nothing_twice(live: Page) -> None:
    live.open("/photo/").choose(live.file("one.png", photo(kind="PNG")), name="file")
    live.uploaded()
    live.find("#id_title").send_keys("A title")
    live.submit()
    until_saved(live)
    live.driver.back()
    live.until(lambda: live.find_all(".cf-upload-zone") and live.states() == [], "forgetting what is saved")
    live.js("document.querySelector('#id_title').value = 'Another title'")
    live.submit()
    until_saved(live)
    assert Photo.objects.count() == 2, "the form was sent twice"
    assert Photo.objects.exclude(file="").count() == 1, "its image was not"


def test_a_removed_upload_is_discarded(live: Page) -> None:
    live.open("/photo/").choose(live.file("one.png", photo(kind="PNG")), name="file")
    live.uploaded()
    live.find(".cf-upload-remove").click()
    live.js("window.left = true; location.reload()")  # after the request that discards
    live.until(lambda: live.js("return !window.left") and live.find_all(".cf-upload-zone"))
    assert live.states() == []
    assert not Reservation.objects.filter(state=State.PENDING).exists()


def test_a_field_of_many_saves_them_in_their_order(live: Page, sizes: list[int]) -> None:
    bodies = [photo((60 + n, 40), kind="PNG", color=(n * 9, 0, 0)) for n in range(8)]
    files = [live.file(f"{n}.png", body) for n, body in enumerate(bodies)]
    live.open("/gallery/").choose(*files, name="files")
    live.uploaded(8)
    live.find_all(".cf-upload-down")[0].click()
    live.submit()
    until_saved(live)
    widths = list(Photo.objects.order_by("pk").values_list("width", flat=True))
    assert widths == [61, 60, *range(62, 68)]
    assert Reservation.objects.filter(state=State.STORED).count() == 8


def test_a_third_of_all_answers_of_cloudflare_may_be_lost(live: Page, cloudflare: Any) -> None:
    cloudflare.faults.set(places=("upload",), rates={"reset_after": 0.15, "reset_before": 0.15}, seed=5)
    live.open("/gallery/").choose(
        *[live.file(f"{n}.png", photo((60 + n, 40), kind="PNG")) for n in range(15)], name="files"
    )
    live.until(lambda: live.states() == ["done"] * 15, seconds=90)
    live.submit()
    until_saved(live)
    assert sorted(Photo.objects.values_list("width", flat=True)) == list(range(60, 75))
    assert len(cloudflare.images) == 15, "no orphan"


def test_rows_of_an_inline_are_added_for_each_file(live: Page) -> None:
    files = [live.file(f"{n}.png", photo((60 + n, 40), kind="PNG")) for n in range(3)]
    live.open("/admin/app/album/add/").drop(*files, on="#page_set-0 .cf-upload-zone")
    live.uploaded(3)
    assert len(live.find_all("tr.dynamic-page_set")) == 3
    assert live.names() == ["0.png", "1.png", "2.png"]
    save(live)
    assert AlbumPage.objects.count() == 3
    assert all(page.front for page in AlbumPage.objects.all())


def test_a_row_that_is_removed_leaves_the_others_their_images(live: Page) -> None:
    files = [live.file(f"{n}.png", photo((60 + n, 40), kind="PNG")) for n in range(3)]
    live.open("/admin/app/album/add/").drop(*files, on="#page_set-0 .cf-upload-zone")
    live.uploaded(3)
    live.find_all(".inline-deletelink")[1].click()
    live.until(lambda: live.names() == ["0.png", "2.png"])
    save(live)
    assert sorted(page.front.width for page in AlbumPage.objects.all()) == [60, 62]


def test_local_files_are_uploaded_in_the_same_way(live: Page, sizes: list[int]) -> None:
    body = photo((600, 400))
    live.open("/admin/app/album/add/").choose(live.file("cover.jpg", body), name="cover")
    live.uploaded()
    sizes.clear()
    save(live)
    assert max(sizes) < 3000
    with Album.objects.get().cover.open() as file:
        assert file.read() == body


@needs_axe
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_the_admin(live: Page, scheme: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    live.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    live.open("/admin/app/album/add/").choose(live.file("cover.jpg", photo()), name="cover")
    live.choose(live.file("broken.jpg", b"no image"), name="page_set-0-front")
    live.until(lambda: live.states() == ["done", "refused"])
    keep(live, f"admin-{scheme}")
    found = live.axe(AXE, "cf-image-upload")
    live.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert found == []


def test_without_the_script_django_saves_the_file(live: Page) -> None:
    live.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        live.open("/photo/").choose(live.file("one.png", photo(kind="PNG")), name="file")
        live.find("#id_title").send_keys("A title")
        live.submit()
        live.until(lambda: live.driver.title == "Saved")
    finally:
        live.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    assert Photo.objects.get().width == 640
    assert Reservation.objects.count() == 0
