"""The views that a page talks to, as a browser does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from django.contrib.auth.models import Permission
from django.core.files.storage import storages
from django.test import Client

from cf_images.browser import reservations, waiting_files
from cf_images.browser.direct_upload import DirectUpload
from cf_images.browser.targets import Target
from cf_images.models import Reservation, State
from tests.app.models import Page
from tests.background.conftest import Clock
from tests.browser.conftest import URL, Visitor
from tests.browser.test_reservations import SVG, work
from tests.pictures import picture

pytestmark = pytest.mark.django_db

BACK = Page._meta.get_field("back")  # on local files


@pytest.fixture
def local(visitor: Visitor) -> Target:
    """The field of a storage of local files."""
    return visitor.target(BACK)


# Reserve


def test_a_reservation_gives_a_value_and_a_url(visitor: Visitor, cloudflare: Any) -> None:
    response = visitor.reserve()
    assert response.status_code == 201
    body = response.json()
    assert set(body) == {"value", "upload_url", "expires_at", "max_bytes"}
    row = Reservation.objects.get()
    assert row.remote_id not in body["value"]
    assert body["upload_url"].startswith(cloudflare.url)
    assert "no-store" in response["Cache-Control"]


def test_a_preflight_of_the_upload_url_is_answered(visitor: Visitor) -> None:
    upload_url = visitor.reserve().json()["upload_url"]
    asked = {"Origin": "https://example.com", "Access-Control-Request-Method": "POST"}
    response = httpx.options(upload_url, headers=asked)
    assert response.is_success
    assert response.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        ({"size": 11 * 1024 * 1024}, 413),
        ({"size": 0}, 400),
        ({"size": "9"}, 400),
        ({"size": True}, 400),
        ({"filename": ""}, 400),
        ({"type": "image/svg+xml"}, 415),
        ({"type": "text/html"}, 415),
        ({"field": "tests.app.Nothing"}, 403),
        ({"field": "x" * 5000}, 400),
        ({"field": ["x"]}, 400),
    ],
)
def test_a_wrong_request_is_refused_without_a_request_to_cloudflare(
    data: dict[str, Any], status: int, visitor: Visitor, cloudflare: Any
) -> None:
    response = visitor.reserve(**data)
    assert response.status_code == status
    assert response.json()["error"]
    assert not cloudflare.requests
    assert not Reservation.objects.exists()


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"x": "' + b"x" * 20_000 + b'"}']
)
def test_a_body_that_is_no_object_is_refused(body: bytes, visitor: Visitor) -> None:
    response = visitor.client.post(URL, body, content_type="application/json")
    assert response.status_code == 400


@pytest.mark.parametrize("has_middleware", [True, False])
def test_a_request_of_another_site_is_refused(has_middleware: bool, visitor: Visitor, settings: Any) -> None:
    if not has_middleware:
        settings.MIDDLEWARE = [path for path in settings.MIDDLEWARE if "Csrf" not in path]
    client = Client(enforce_csrf_checks=True)
    assert visitor.user
    client.force_login(visitor.user)
    assert client.post(URL, "{}", content_type="application/json").status_code == 403


def test_a_visitor_who_is_not_logged_in_is_refused(anonymous: Visitor, cloudflare: Any) -> None:
    response = anonymous.reserve()
    assert response.status_code == 403
    assert not cloudflare.requests


def test_a_function_may_let_visitors_upload(anonymous: Visitor, settings: Any) -> None:
    settings.CF_IMAGES = {
        **settings.CF_IMAGES,
        "DIRECT_UPLOADS_ALLOWED": lambda request, label: label == "app.Photo.file",
    }
    value = anonymous.upload()
    assert anonymous.status(value)["state"] == "uploaded"
    assert anonymous.reserve(anonymous.target(BACK)).status_code == 403
    assert Visitor(None).status(value)["state"] == "gone"


def test_a_field_that_was_rendered_for_another_user_is_refused(visitor: Visitor, other: Visitor) -> None:
    assert other.reserve(field=visitor.target().sign(visitor.owner)).status_code == 403


def test_a_field_without_a_page_needs_a_permission(visitor: Visitor) -> None:
    assert visitor.reserve(field="app.Photo.file").status_code == 403
    assert visitor.user
    visitor.user.user_permissions.add(Permission.objects.get(codename="add_photo"))
    assert visitor.reserve(field="app.Photo.file").status_code == 201


def test_an_outage_is_said_plainly(visitor: Visitor, settings: Any) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "API_TOKEN": "expired"}
    response = visitor.reserve()
    assert response.status_code == 503
    assert "at the moment" in response.json()["error"]
    assert response["Retry-After"] == "60", "so long that a page sends the file with the form instead"
    assert not Reservation.objects.exists()


def test_a_lost_answer_of_cloudflare_leaves_nothing_behind(visitor: Visitor, cloudflare: Any) -> None:
    cloudflare.faults.plan("reset_after")
    assert visitor.reserve().status_code == 201
    assert Reservation.objects.count() == 1
    assert not cloudflare.images


# Status, discard, preview


def test_the_status_follows_an_upload(visitor: Visitor, clock: Clock) -> None:
    reserved = visitor.reserve().json()
    assert visitor.status(reserved["value"])["state"] == "open"
    visitor.send(reserved["upload_url"], picture())
    clock.advance(seconds=2)
    found = visitor.status(reserved["value"])
    assert (found["state"], found["filename"]) == ("uploaded", "cat.png")
    preview = visitor.client.get(found["preview_url"])
    assert preview.status_code == 200
    assert preview["Content-Type"].startswith("image/")
    assert "sandbox" in preview["Content-Security-Policy"]
    upload = DirectUpload(
        reservations.verify(reserved["value"], visitor.target(), owner=visitor.owner), reserved["value"]
    )
    upload.take_name(visitor.target().storage, "cat.png", max_length=100)
    assert visitor.status(reserved["value"])["state"] == "attached"


def test_cloudflare_is_asked_once_a_second(visitor: Visitor, cloudflare: Any) -> None:
    value = visitor.reserve().json()["value"]
    before = len(cloudflare.requests)
    for _ in range(5):
        assert visitor.status(value)["state"] == "open"
    assert len(cloudflare.requests) == before + 1


def test_an_upload_of_another_user_is_gone_for_all_others(visitor: Visitor, other: Visitor) -> None:
    value = visitor.upload()
    assert other.status(value)["state"] == "gone"
    assert other.post("discard/", value=value).status_code == 204
    assert visitor.status(value)["state"] == "uploaded"
    url = visitor.status(value)["preview_url"]
    assert other.client.get(url).status_code == 403


def test_a_discarded_upload_is_gone(visitor: Visitor) -> None:
    value = visitor.upload()
    assert visitor.post("discard/", value=value).status_code == 204
    assert visitor.status(value)["state"] == "gone"
    assert visitor.post("discard/", value=value).status_code == 204


def test_a_private_upload_has_a_preview(visitor: Visitor, settings: Any) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "REQUIRE_SIGNED_URLS": True}
    found = visitor.status(visitor.upload())
    assert visitor.client.get(found["preview_url"]).status_code == 200


# Local files


def test_local_files_take_the_same_way(visitor: Visitor, local: Target, cloudflare: Any) -> None:
    value = visitor.upload(target=local)
    found = visitor.status(value)
    assert found["state"] == "uploaded"
    preview = visitor.client.get(found["preview_url"])
    assert b"".join(preview.streaming_content) == picture()
    preview.close()
    upload = DirectUpload(reservations.verify(value, local, owner=visitor.owner), value)
    storage = local.storage
    saved = storage.save("pages/cat.png", upload)
    with storage.open(saved) as file:
        assert file.read() == picture()
    assert Reservation.objects.get().name == saved
    assert not cloudflare.requests
    upload.close()
    storage.delete(saved)


def test_a_local_upload_url_takes_one_file(visitor: Visitor, local: Target) -> None:
    url = visitor.reserve(local).json()["upload_url"]
    assert visitor.send(url, picture()).status_code == 200
    assert visitor.send(url, picture()).status_code == 409


@pytest.mark.parametrize(
    ("body", "status"), [(b"no image", 415), (b"", 415), (b"\x89PNG\r\n\x1a\n" + bytes(11 * 1024**2), 413)]
)
def test_a_local_upload_url_refuses_what_cloudflare_would(
    body: bytes, status: int, visitor: Visitor, local: Target
) -> None:
    response = visitor.send(visitor.reserve(local).json()["upload_url"], body)
    assert response.status_code == status
    assert response.json()["errors"][0]["code"]


def test_a_local_upload_url_ends(visitor: Visitor, local: Target, clock: Clock) -> None:
    url = visitor.reserve(local).json()["upload_url"]
    assert visitor.send(url[:-5] + "/", picture()).status_code == 404
    assert Client().post(url).status_code == 400
    clock.advance(hours=6)
    assert visitor.send(url, picture()).status_code == 404


def test_an_svg_of_a_stranger_is_not_saved(visitor: Visitor, local: Target) -> None:
    value = visitor.upload(SVG, target=local)
    with pytest.raises(reservations.UploadProblem, match="SVG"):
        reservations.verify(value, local, owner=visitor.owner)


def test_a_local_file_that_is_never_saved_is_deleted(visitor: Visitor, local: Target, clock: Clock) -> None:
    visitor.upload(target=local)
    path = Path(storages["default"].path(Reservation.objects.get().remote_id))
    assert path.is_file()
    clock.advance(hours=7)
    assert work() == 1
    assert not path.exists()
    assert not Reservation.objects.exists()


def test_a_local_save_that_fails_leaves_the_file(
    visitor: Visitor, local: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = visitor.upload(target=local)
    upload = DirectUpload(reservations.verify(value, local, owner=visitor.owner), value)

    def fail(*_: Any) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(type(local.storage), "save_exactly", fail)
        with pytest.raises(OSError, match="full"):
            local.storage.save("pages/cat.png", upload)
    assert Reservation.objects.get().state == State.PENDING
    saved = local.storage.save("pages/cat.png", upload)
    local.storage.delete(saved)
    upload.close()


def test_of_two_posts_at_once_one_is_kept(visitor: Visitor, local: Target) -> None:
    storage: Any = local.storage
    name = waiting_files.new_name()
    assert waiting_files.write(storage, name, [b"one"])
    assert not waiting_files.write(storage, name, [b"two"])
    with waiting_files.opened(storage, name) as file:
        assert file.read() == b"one"
    assert len(list(Path(storage.path(name)).parent.glob("*.*"))) == 0, "no part of the other"
    storage.delete(name)


def test_a_local_file_that_was_discarded_while_it_arrived_is_deleted(
    visitor: Visitor, local: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserved = visitor.reserve(local).json()
    write = waiting_files.write

    def write_late(*args: Any) -> bool:
        visitor.post("discard/", value=reserved["value"])
        return write(*args)

    monkeypatch.setattr(waiting_files, "write", write_late)
    assert visitor.send(reserved["upload_url"], picture()).status_code == 404
    assert not Path(storages["default"].path(Reservation.objects.get().remote_id)).exists()


def test_a_saved_local_file_waits_no_more(
    visitor: Visitor, local: Target, django_capture_on_commit_callbacks: Any
) -> None:
    value = visitor.upload(target=local)
    path = Path(storages["default"].path(Reservation.objects.get().remote_id))
    with (
        django_capture_on_commit_callbacks(execute=True),
        DirectUpload(reservations.verify(value, local, owner=visitor.owner), value) as upload,
    ):
        saved = local.storage.save("pages/cat.png", upload)
        assert path.exists(), "until the commit"
    assert not path.exists()
    assert local.storage.exists(saved)
    local.storage.delete(saved)
