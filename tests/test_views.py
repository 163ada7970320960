"""Our addresses: variants of local images, and upload by URL, with everything that can go wrong."""

from __future__ import annotations

import io
import json
import logging
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import stamina
from django.contrib.auth.models import Permission, User
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.test import Client, RequestFactory
from PIL import Image

from cf_images import rendering, views
from cf_images.exceptions import CloudflareImagesError, ImageExistsError, ImageNotFoundError
from tests.pictures import picture

PNG = picture(size=(640, 480))
CHROME = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


# Local variants


@pytest.fixture
def local(settings: Any, tmp_path: Path) -> Any:
    """The local storage in a folder of its own, with its view at work."""
    settings.MEDIA_ROOT = tmp_path / "media"
    settings.DEBUG = True
    return storages["default"]


@pytest.fixture
def name(local: Any) -> str:
    """An image that it keeps."""
    return str(local.save("avatars/jane é.png", ContentFile(PNG)))


def get(name: str, variant: str = "avatar", *, method: str = "get", **headers: str) -> Any:
    """The view's answer, with all of its body in ``body``."""
    answer: Any = getattr(Client(headers=headers), method)(f"/cf-images/local/{variant}/{name}")
    answer.body = b"".join(answer)
    return answer


def opened(response: Any) -> Image.Image:
    return Image.open(io.BytesIO(response.body))


def test_a_declared_variant_is_rendered(local: Any, name: str) -> None:
    assert local.url(name, variant="avatar") == "/cf-images/local/avatar/avatars/jane%20%C3%A9.png"
    response = get(name)
    assert response.status_code == 200
    assert response["Content-Type"] == "image/png"
    assert opened(response).size == (240, 240)


def test_the_public_variant_needs_no_declaration(name: str) -> None:
    assert opened(get(name, "public")).size == (640, 480)


@pytest.mark.parametrize("variant", ["w=64,h=48", "w%3D64"])
def test_a_flexible_variant_is_rendered_in_debug(variant: str, name: str) -> None:
    assert opened(get(name, variant)).size == (64, 48)


def test_the_browsers_header_decides_on_the_format(name: str) -> None:
    assert get(name, accept=CHROME)["Content-Type"] == "image/avif"
    assert get(name, accept="image/webp")["Content-Type"] == "image/webp"
    assert get(name, accept="image/png")["Content-Type"] == "image/png"


def test_the_answer_is_safe_to_show(name: str) -> None:
    response = get(name)
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Content-Security-Policy"] == "default-src 'none'; style-src 'unsafe-inline'; sandbox"
    assert response["Vary"] == "Accept"
    assert response["Cache-Control"] == "no-cache"
    assert "attachment" not in response.get("Content-Disposition", "")


def test_an_svg_comes_as_an_image_without_rights(local: Any) -> None:
    response = get(local.save("a.svg", ContentFile(SVG)))
    assert response["Content-Type"] == "image/svg+xml"
    assert "sandbox" in response["Content-Security-Policy"]
    assert "script-src" not in response["Content-Security-Policy"]


def test_the_second_request_renders_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = get(name).body
    monkeypatch.setattr(rendering, "render", None)
    assert get(name).body == first


def test_a_browser_that_has_it_is_told_so(name: str) -> None:
    etag = get(name)["ETag"]
    again = get(name, if_none_match=etag)
    assert (again.status_code, again.body) == (304, b"")
    assert again["ETag"] == etag
    assert again["Vary"] == "Accept"
    assert get(name, if_none_match='"other"').status_code == 200
    assert get(name, if_match='"other"').status_code == 412


def test_another_variant_and_another_format_have_another_etag(name: str) -> None:
    responses = [get(name), get(name, "public"), get(name, accept=CHROME)]
    assert len({response["ETag"] for response in responses}) == 3


def test_a_replaced_file_gets_a_new_rendition(local: Any, name: str) -> None:
    before = get(name)
    path = Path(local.path(name))
    path.write_bytes(picture(size=(300, 300), seed=2))
    os.utime(path, ns=(1, 1))
    after = get(name)
    assert after["ETag"] != before["ETag"]
    assert after.body != before.body


def test_head_has_the_headers_and_no_body(name: str) -> None:
    response = get(name, method="head")
    assert (response.status_code, response["Content-Type"]) == (200, "image/png")
    assert response["Content-Length"] == get(name)["Content-Length"]
    assert response.body == b""


@pytest.mark.parametrize("method", ["post", "put", "delete", "patch"])
def test_other_methods_are_refused(method: str, name: str) -> None:
    assert get(name, method=method).status_code == 405


def test_with_debug_off_nothing_is_served(name: str, settings: Any) -> None:
    settings.DEBUG = False
    assert get(name).status_code == 404
    assert get(name, "public").status_code == 404


def test_with_debug_off_declared_variants_are_served_where_asked_for(name: str, settings: Any) -> None:
    settings.DEBUG = False
    settings.CF_IMAGES = {**settings.CF_IMAGES, "SERVE_LOCAL_VARIANTS": True}
    assert opened(get(name)).size == (240, 240)
    for flexible in ("w=64", "w%3D64", "width=64,height=48"):
        assert get(name, flexible).status_code == 404
    assert get(name, "undeclared").status_code == 404
    rendered = list((Path(storages["default"].location) / ".cf_images").rglob("*.*"))
    assert len(rendered) == 1


def test_in_debug_it_can_be_switched_off(name: str, settings: Any) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "SERVE_LOCAL_VARIANTS": False}
    assert get(name).status_code == 404


@pytest.mark.parametrize("alias", ["staticfiles", "cloudflare_images", "missing"])
def test_only_a_local_storage_of_ours_is_served(alias: str, name: str, settings: Any) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "LOCAL_ALIAS": alias}
    assert get(name).status_code == 404


def test_an_undeclared_variant_names_the_declared_ones(name: str) -> None:
    response = get(name, "avatra")
    assert (response.status_code, response["Content-Type"]) == (404, "text/plain; charset=utf-8")
    assert response.content.decode() == (
        "No variant 'avatra' is declared in CF_IMAGES[\"VARIANTS\"]; there are public, avatar."
    )


@pytest.mark.parametrize("variant", ["fit=stretch", "rotate=45", "format=bmp"])
def test_options_that_cloudflare_refuses_are_refused(variant: str, name: str) -> None:
    response = get(name, variant)
    assert response.status_code in (400, 404)
    assert response["Content-Type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    "body", [b"text", b"", PNG[:60], b"\0" * 100], ids=["text", "empty", "torn", "zeros"]
)
def test_what_is_no_image_is_one_clear_error(body: bytes, local: Any) -> None:
    response = get(local.save("a.png", ContentFile(body)))
    assert response.status_code == 400
    assert response["Content-Type"] == "text/plain; charset=utf-8"
    assert response.content


@pytest.mark.parametrize(
    "path",
    [
        "missing.png",
        "avatars",
        "avatars/",
        "avatars/missing.png",
        "avatars/jane%00.png",
        "%00",
        "x" * 2000,
        "x/" * 900,
        "avatars/jane%20%C3%A9.png/more",
        "100%25.png",
        "a%0Ab.png",
        "%FF%FE.png",
    ],
)
def test_what_is_not_there_is_not_found(path: str, name: str) -> None:
    assert get(path).status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "../secret.png",
        "..%2Fsecret.png",
        "avatars/../../secret.png",
        "%2E%2E/secret.png",
        "/etc/passwd",
        "{root}/secret.png",
        "..\\secret.png",
        "....//secret.png",
        "..%5Csecret.png",
    ],
)
def test_nothing_outside_of_the_media_folder_is_reached(path: str, local: Any, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(PNG)
    Path(local.location).mkdir()
    response = Client(raise_request_exception=False).get(
        f"/cf-images/local/public/{path.format(root=tmp_path)}"
    )
    assert response.status_code in (400, 404)
    assert not (tmp_path / ".cf_images").exists()


# Upload by URL


class Source(BaseHTTPRequestHandler):
    """Somebody's web site: an image, and addresses that have none."""

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
    """Its address."""
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
    """Somebody with the permission."""
    jane = User.objects.create_user("jane")
    jane.user_permissions.add(Permission.objects.get(codename="add_upload"))
    return jane


@pytest.fixture
def browser(user: User) -> Client:
    """Their browser."""
    client = Client()
    client.force_login(user)
    return client


def post(browser: Client, url: str | None = None) -> Any:
    return browser.post("/cf-images/upload-by-url/", {} if url is None else {"image_url": url})


def refusal(response: Any, status: int) -> str:
    """The message of an error, which is all that its JSON has."""
    assert response.status_code == status
    assert response["Content-Type"] == "application/json"
    answer = response.json()
    assert list(answer) == ["error"]
    return str(answer["error"])


def test_cloudflare_fetches_the_image_and_its_id_comes_back(
    browser: Client, source: str, relaxed: Any
) -> None:
    response = post(browser, f"{source}/jane%20doe.png")
    assert response.status_code == 200
    answer = response.json()
    assert answer.keys() == {"image_id", "require_signed"}
    assert answer["require_signed"] is False
    assert list(relaxed.images) == [answer["image_id"]]
    assert answer["image_id"].startswith("jane-doe-")
    assert answer["image_id"].endswith(".png")


def test_the_name_works_in_a_field(browser: Client, source: str, relaxed: Any, images: Any) -> None:
    image_id = post(browser, f"{source}/jane.png").json()["image_id"]
    assert images.exists(image_id)
    with images.open(image_id) as file:
        assert file.read() == PNG


def test_an_address_without_a_file_name_will_do(browser: Client, source: str, relaxed: Any) -> None:
    answer = post(browser, f"{source}/jane/")
    assert answer.json()["image_id"].startswith("image-")


def test_the_same_address_twice_gives_two_images(browser: Client, source: str, relaxed: Any) -> None:
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
        "CREATOR": "we",
    }
    answer = post(browser, f"{source}/jane.png").json()
    stored = relaxed.images[answer["image_id"]]
    assert answer["require_signed"] is True
    assert stored.require_signed_urls
    assert "jane" not in answer["image_id"]
    assert (stored.metadata, stored.creator) == ({"a": 1}, "we")


def test_get_is_refused(browser: Client, cloudflare: Any) -> None:
    assert browser.get("/cf-images/upload-by-url/?image_url=https://example.com/").status_code == 405


@pytest.mark.django_db
def test_nobody_uploads_without_logging_in(cloudflare: Any) -> None:
    assert "log in" in refusal(post(Client(), "https://example.com/a.jpg"), 401)
    assert cloudflare.requests == []


def test_nobody_uploads_without_the_permission(user: User, browser: Client, cloudflare: Any) -> None:
    user.user_permissions.clear()
    assert "not allowed" in refusal(post(browser, "https://example.com/a.jpg"), 403)
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


def test_a_form_of_ours_is_accepted(user: User, relaxed: Any, source: str) -> None:
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
def test_an_address_that_may_not_be_fetched_is_refused_before_a_request(
    url: str | None, reason: str, browser: Client, cloudflare: Any
) -> None:
    assert reason in refusal(post(browser, url), 400)
    assert cloudflare.requests == []


@pytest.mark.parametrize("path", ["/page.html", "/missing.png"])
def test_what_cloudflare_refuses_is_a_400_with_its_reason(
    path: str, browser: Client, source: str, relaxed: Any
) -> None:
    message = refusal(post(browser, f"{source}{path}"), 400)
    assert message.startswith("Cloudflare did not take the image: ")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("kind", ["500", "html_502", "internal_5550", "429", "reset_before", "cut"])
def test_a_failing_cloudflare_is_a_502(kind: str, browser: Client, source: str, relaxed: Any) -> None:
    relaxed.faults.rates = {kind: 1.0}
    message = refusal(post(browser, f"{source}/jane.png"), 502)
    assert message == "Cloudflare cannot store the image at the moment. Please try again in a few minutes."


@pytest.mark.usefixtures("quick")
def test_a_dead_host_is_a_502(browser: Client, source: str, relaxed: Any, settings: Any) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "API_URL": "http://127.0.0.1:9/client/v4"}
    assert "try again" in refusal(post(browser, f"{source}/jane.png"), 502)


def test_a_refused_token_is_a_502_for_an_administrator(
    browser: Client, source: str, relaxed: Any, settings: Any
) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "API_TOKEN": "another-token-that-is-wrong-0123456789"}
    assert "an administrator must mend that" in refusal(post(browser, f"{source}/jane.png"), 502)


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
    message = refusal(post(browser, "https://example.com/jane.png"), 502)
    assert message == "This site cannot upload images at the moment: it is not configured for it."
    assert "Upload by URL is not configured: " in caplog.text
    assert relaxed.requests == []


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("kind", ["", "500", "html_502", "429", "reset_before", "refused", "token"])
def test_neither_answer_nor_log_has_token_or_account(
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
    ours = [record for record in caplog.records if record.name.startswith("cf_images")]
    assert relaxed.account_id not in "".join(record.getMessage() for record in ours)


@pytest.mark.parametrize("error", [ImageNotFoundError, ImageExistsError, CloudflareImagesError])
def test_an_answer_that_makes_no_sense_here_is_a_502_too(
    error: type[CloudflareImagesError], browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def senseless(url: str) -> None:
        raise error("Cloudflare says something else.")

    monkeypatch.setattr(views, "_fetched", senseless)
    assert "try again" in refusal(post(browser, "https://example.com/a.jpg"), 502)


def test_an_error_of_another_kind_is_not_hidden(
    user: User, relaxed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(url: str) -> None:
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(views, "_fetched", broken)
    request = RequestFactory().post("/", {"image_url": "https://example.com/"})
    request.user = user
    request._dont_enforce_csrf_checks = True  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError, match="a mistake of ours"):
        views.upload_by_url(request)
