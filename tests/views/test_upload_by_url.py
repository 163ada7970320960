"""Upload by URL over HTTP, with everything that can go wrong."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import stamina
from django.contrib.auth.models import Permission, User
from django.test import Client, RequestFactory

from cf_images.exceptions import CloudflareImagesError, ImageExistsError, ImageNotFoundError
from cf_images.views import upload_by_url
from tests.pictures import picture

PNG = picture(size=(640, 480))


class Source(BaseHTTPRequestHandler):
    """A web site: an image, and URLs that have none."""

    def do_GET(self) -> None:
        body = PNG if self.path.startswith("/jane") else b"<!doctype html><title>404</title>"
        self.send_response(200 if self.path.startswith(("/jane", "/page")) else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def source() -> Iterator[str]:
    """The URL of the web site."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Source) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def quick() -> Iterator[None]:
    """Retries without waiting."""
    with stamina.set_testing(True, attempts=2):
        yield


@pytest.fixture
def relaxed(cloudflare: Any, settings: Any) -> Any:
    """The emulator, and settings that let it fetch from this machine."""
    own = {"UPLOAD_URL_SCHEMES": ["http", "https"], "UPLOAD_URL_LOCAL_HOSTS": ["127.0.0.1"]}
    settings.CF_IMAGES = {**settings.CF_IMAGES, **own}
    return cloudflare


@pytest.fixture
def user(db: Any) -> User:
    """A user with the permission."""
    jane = User.objects.create_user("jane")
    jane.user_permissions.add(Permission.objects.get(codename="add_upload"))
    return jane


@pytest.fixture
def browser(user: User) -> Client:
    """The browser of the user."""
    client = Client()
    client.force_login(user)
    return client


def post(browser: Client, url: str | None = None) -> Any:
    return browser.post("/cf-images/upload-by-url/", {} if url is None else {"image_url": url})


def error_of(response: Any, status: int) -> str:
    """Return the message of an error, which is all that its JSON has."""
    assert response.status_code == status
    assert response["Content-Type"] == "application/json"
    body = response.json()
    assert list(body) == ["error"]
    return str(body["error"])


def test_cloudflare_fetches_the_image_and_the_response_has_its_id(
    browser: Client, source: str, relaxed: Any
) -> None:
    response = post(browser, f"{source}/jane%20doe.png")
    assert response.status_code == 200
    body = response.json()
    assert body.keys() == {"image_id", "require_signed"}
    assert body["require_signed"] is False
    assert list(relaxed.images) == [body["image_id"]]
    assert body["image_id"].startswith("jane-doe-")
    assert body["image_id"].endswith(".png")


def test_the_name_works_in_a_field(browser: Client, source: str, relaxed: Any, images: Any) -> None:
    image_id = post(browser, f"{source}/jane.png").json()["image_id"]
    assert images.exists(image_id)
    with images.open(image_id) as file:
        assert file.read() == PNG


def test_a_url_without_a_file_name_is_accepted(browser: Client, source: str, relaxed: Any) -> None:
    body = post(browser, f"{source}/jane/")
    assert body.json()["image_id"].startswith("image-")


def test_the_same_url_twice_gives_two_images(browser: Client, source: str, relaxed: Any) -> None:
    ids = {post(browser, f"  {source}/jane.png\n").json()["image_id"] for _ in range(2)}
    assert ids == set(relaxed.images)
    assert len(ids) == 2


def test_a_private_image_has_cloudflares_id(
    browser: Client, source: str, relaxed: Any, settings: Any
) -> None:
    settings.CF_IMAGES = {
        **settings.CF_IMAGES,
        "REQUIRE_SIGNED_URLS": True,
        "METADATA": {"a": 1},
        "CREATOR": "site-7",
    }
    body = post(browser, f"{source}/jane.png").json()
    stored = relaxed.images[body["image_id"]]
    assert body["require_signed"] is True
    assert stored.require_signed_urls
    assert "jane" not in body["image_id"]
    assert (stored.metadata["a"], stored.creator) == (1, "site-7")


def test_the_image_can_be_found_and_told_apart_by_its_metadata(
    browser: Client, source: str, relaxed: Any, settings: Any
) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "SITE": "shop/production"}
    image_id = post(browser, f"{source}/jane.png").json()["image_id"]
    added = relaxed.images[image_id].metadata["cf_images"]
    assert added["site"] == "shop/production"
    assert abs(added["uploaded"] - time.time()) < 60
    assert len(added["token"]) == 16
    assert added.keys() == {"site", "uploaded", "token"}, "size and file name are not known"


def test_get_is_refused(browser: Client, cloudflare: Any) -> None:
    assert browser.get("/cf-images/upload-by-url/?image_url=https://example.com/").status_code == 405


@pytest.mark.django_db
def test_an_anonymous_user_uploads_nothing(cloudflare: Any) -> None:
    assert "log in" in error_of(post(Client(), "https://example.com/a.jpg"), 401)
    assert cloudflare.requests == []


def test_a_user_without_the_permission_uploads_nothing(user: User, browser: Client, cloudflare: Any) -> None:
    user.user_permissions.clear()
    assert "not allowed" in error_of(post(browser, "https://example.com/a.jpg"), 403)
    assert cloudflare.requests == []


def test_a_user_who_was_deactivated_uploads_nothing(user: User, browser: Client, cloudflare: Any) -> None:
    User.objects.update(is_active=False)
    assert post(browser, "https://example.com/a.jpg").status_code in (401, 403)
    assert cloudflare.requests == []


@pytest.mark.parametrize("middleware", [True, False])
def test_a_form_of_another_site_is_refused(
    middleware: bool, user: User, cloudflare: Any, settings: Any
) -> None:
    if not middleware:
        settings.MIDDLEWARE = [one for one in settings.MIDDLEWARE if "Csrf" not in one]
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(user)
    assert post(browser, "https://example.com/a.jpg").status_code == 403
    assert cloudflare.requests == []


def test_a_form_of_this_site_is_accepted(user: User, relaxed: Any, source: str) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(user)
    browser.cookies["csrftoken"] = "a" * 32
    response = browser.post(
        "/cf-images/upload-by-url/", {"image_url": f"{source}/jane.png"}, headers={"X-CSRFToken": "a" * 32}
    )
    assert response.status_code == 200


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (None, "is missing: send it as image_url"),
        (" ", "is missing: send it as image_url"),
        ("jane.jpg", "it must begin with https://"),
        ("http://example.com/a.jpg", "it must begin with https://"),
        ("https://localhost/a.jpg", "localhost is not a public host name"),
        ("https://u:p@example.com/a.jpg", "a user name or a password"),
        ("https://example.com/" + "x" * 2000, "at most 2,000 characters"),
    ],
)
def test_a_url_that_may_not_be_fetched_is_refused_before_a_request(
    url: str | None, reason: str, browser: Client, cloudflare: Any
) -> None:
    assert reason in error_of(post(browser, url), 400)
    assert cloudflare.requests == []


@pytest.mark.parametrize("path", ["/page.html", "/missing.png"])
def test_what_cloudflare_refuses_is_a_400_with_its_reason(
    path: str, browser: Client, source: str, relaxed: Any
) -> None:
    message = error_of(post(browser, f"{source}{path}"), 400)
    assert message.startswith("Cloudflare did not accept the image: ")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("kind", ["500", "html_502", "internal_5550", "429", "reset_before", "cut"])
def test_a_failing_cloudflare_is_a_502(kind: str, browser: Client, source: str, relaxed: Any) -> None:
    relaxed.faults.rates = {kind: 1.0}
    message = error_of(post(browser, f"{source}/jane.png"), 502)
    assert message == "Cloudflare cannot store the image at the moment. Please try again in a few minutes."


@pytest.mark.usefixtures("quick")
def test_a_dead_host_is_a_502(browser: Client, source: str, relaxed: Any, settings: Any) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "API_URL": "http://127.0.0.1:9/client/v4"}
    assert "try again" in error_of(post(browser, f"{source}/jane.png"), 502)


def test_a_refused_token_is_a_502_for_an_administrator(
    browser: Client, source: str, relaxed: Any, settings: Any
) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "API_TOKEN": "another-token-that-is-wrong-0123456789"}
    assert "Please tell an administrator." in error_of(post(browser, f"{source}/jane.png"), 502)


@pytest.mark.parametrize(
    "change",
    [
        {"API_TOKEN": None},
        {"API_TOKEN": "a b"},
        {"CLOUDFLARE_ALIAS": "missing"},
        {"CLOUDFLARE_ALIAS": "default"},
        {"METADATA": "x"},
        {"VARAINTS": {}},
    ],
    ids=str,
)
def test_a_site_that_is_not_configured_is_a_502(
    change: dict[str, Any], browser: Client, relaxed: Any, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.CF_IMG_TOKEN = None
    settings.CF_IMAGES = {**settings.CF_IMAGES, **change}
    message = error_of(post(browser, "https://example.com/jane.png"), 502)
    assert message == "This site is not configured to upload images."
    assert "Upload by URL is not configured: " in caplog.text
    assert relaxed.requests == []


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("kind", ["", "500", "html_502", "429", "reset_before", "refused", "token"])
def test_neither_response_nor_log_has_token_or_account(
    kind: str,
    browser: Client,
    source: str,
    relaxed: Any,
    settings: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, logger="cf_images")
    caplog.set_level(logging.INFO)
    token = relaxed.api_token
    if kind == "token":
        token = "another-token-that-is-wrong-0123456789"
        settings.CF_IMAGES = {**settings.CF_IMAGES, "API_TOKEN": token}
    elif kind not in ("", "refused"):
        relaxed.faults.rates = {kind: 1.0}
    response = post(browser, f"{source}/{'page' if kind == 'refused' else 'jane'}.png")
    shown = response.content.decode() + json.dumps(dict(response.headers))
    assert token not in shown + caplog.text
    assert relaxed.account_id not in shown
    records = [record for record in caplog.records if record.name.startswith("cf_images")]
    assert relaxed.account_id not in "".join(record.getMessage() for record in records)


@pytest.mark.parametrize("error", [ImageNotFoundError, ImageExistsError, CloudflareImagesError])
def test_an_unexpected_error_of_cloudflare_is_a_502_too(
    error: type[CloudflareImagesError], browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unexpected(url: str) -> None:
        raise error("Something else.")

    monkeypatch.setattr(upload_by_url, "_upload", unexpected)
    assert "try again" in error_of(post(browser, "https://example.com/a.jpg"), 502)


def test_an_error_of_another_kind_is_not_hidden(
    user: User, relaxed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(url: str) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(upload_by_url, "_upload", broken)
    request = RequestFactory().post("/", {"image_url": "https://example.com/"})
    request.user = user
    request._dont_enforce_csrf_checks = True  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError, match="a defect"):
        upload_by_url.upload_by_url(request)
