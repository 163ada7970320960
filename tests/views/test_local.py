"""Variants of local images over HTTP, with everything that can go wrong."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.test import Client
from PIL import Image

from cf_images import rendering, views
from cf_images.views.render_slots import BusyError
from tests.pictures import encoded, picture

PNG = picture(size=(640, 480))
CHROME = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


@pytest.fixture
def local(settings: Any, tmp_path: Path) -> Any:
    """The local storage in a folder of its own, with its view on."""
    settings.MEDIA_ROOT = tmp_path / "media"
    settings.DEBUG = True
    settings.CF_IMAGES = {**settings.CF_IMAGES, "UNIQUE_NAMES": False}  # so that URLs have odd names
    return storages["default"]


@pytest.fixture
def name(local: Any) -> str:
    """The name of an image in it."""
    return str(local.save("avatars/jane é.png", ContentFile(PNG)))


def get(name: str, variant: str = "avatar", *, method: str = "get", **headers: str) -> Any:
    """Return the view's response, with all of its body in ``body``."""
    response: Any = getattr(Client(headers=headers), method)(f"/cf-images/local/{variant}/{name}")
    response.body = b"".join(response)
    return response


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


def test_the_response_runs_no_script(name: str) -> None:
    response = get(name)
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Content-Security-Policy"] == "default-src 'none'; style-src 'unsafe-inline'; sandbox"
    assert response["Vary"] == "Accept"
    assert response["Cache-Control"] == "no-cache"
    assert "attachment" not in response.get("Content-Disposition", "")


def test_an_svg_is_an_image_that_runs_no_script(local: Any) -> None:
    response = get(local.save("a.svg", ContentFile(SVG)))
    assert response["Content-Type"] == "image/svg+xml"
    assert "sandbox" in response["Content-Security-Policy"]
    assert "script-src" not in response["Content-Security-Policy"]


def test_the_second_request_renders_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = get(name).body
    monkeypatch.setattr(rendering, "render", None)
    assert get(name).body == first


def test_a_browser_that_has_it_gets_a_304(name: str) -> None:
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


def test_with_debug_off_the_setting_serves_named_variants_only(name: str, settings: Any) -> None:
    settings.DEBUG = False
    settings.CF_IMAGES = {**settings.CF_IMAGES, "SERVE_LOCAL_VARIANTS": True}
    assert opened(get(name)).size == (240, 240)
    for flexible in ("w=64", "w%3D64", "width=64,height=48"):
        assert get(name, flexible).status_code == 404
    assert get(name, "undeclared").status_code == 404
    rendered = list((Path(storages["default"].location) / ".cf_images").rglob("*.*"))
    assert len(rendered) == 1


@pytest.fixture
def strangers(local: Any, settings: Any) -> None:
    """A site in production whose local variants are served."""
    settings.DEBUG = False
    settings.CF_IMAGES = {**settings.CF_IMAGES, "SERVE_LOCAL_VARIANTS": True}


@pytest.mark.usefixtures("strangers")
def test_strangers_get_the_original_of_what_would_take_long(
    local: Any, name: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views.local, "MAX_SECONDS", 0.001)
    response = get(name)
    assert (response.status_code, response["Location"]) == (302, "/media/avatars/jane%20%C3%A9.png")
    assert response["Cache-Control"] == "no-cache"
    settings.DEBUG = True
    assert get(name).status_code == 200, "a developer waits"


@pytest.mark.usefixtures("strangers")
def test_strangers_do_not_wait(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*_: Any) -> Any:
        raise BusyError

    kept = get(name, "public")
    monkeypatch.setattr(views.local, "render_once", busy)
    response = get(name)
    assert (response.status_code, response["Cache-Control"]) == (200, "no-store")
    assert response["Retry-After"] == "1"
    assert get(name, "public").body == kept.body, "what is there needs no turn"


@pytest.mark.usefixtures("strangers")
def test_strangers_get_one_frame_of_a_long_animation(local: Any) -> None:
    frames = [Image.new("L", (300, 300), number) for number in range(120)]
    body = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    response = get(local.save("a.gif", ContentFile(body)))
    assert getattr(opened(response), "n_frames", 1) == 1


@pytest.mark.parametrize("debug", [True, False])
def test_a_rendition_deleted_before_it_is_opened_is_rendered_again(
    local: Any, name: str, settings: Any, monkeypatch: pytest.MonkeyPatch, *, debug: bool
) -> None:
    settings.DEBUG = debug
    settings.CF_IMAGES = {**settings.CF_IMAGES, "SERVE_LOCAL_VARIANTS": True}
    before, find = get(name).body, type(local).find_rendition

    def delete_found(storage: Any, *arguments: Any, **options: Any) -> Any:
        found = find(storage, *arguments, **options)
        monkeypatch.setattr(type(local), "find_rendition", find)
        found.path.unlink()
        return found

    monkeypatch.setattr(type(local), "find_rendition", delete_found)
    response = get(name)
    assert (response.status_code, response.body) == (200, before)


@pytest.mark.parametrize("debug", [True, False])
def test_an_image_deleted_while_its_rendition_is_served_is_not_found(
    local: Any, name: str, settings: Any, monkeypatch: pytest.MonkeyPatch, *, debug: bool
) -> None:
    settings.DEBUG = debug
    settings.CF_IMAGES = {**settings.CF_IMAGES, "SERVE_LOCAL_VARIANTS": True}
    get(name)
    find = type(local).find_rendition

    def delete_image(storage: Any, *arguments: Any, **options: Any) -> Any:
        found = find(storage, *arguments, **options)
        storage.delete(name)
        return found

    monkeypatch.setattr(type(local), "find_rendition", delete_image)
    assert get(name).status_code == 404


def test_in_debug_the_setting_can_switch_it_off(name: str, settings: Any) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "SERVE_LOCAL_VARIANTS": False}
    assert get(name).status_code == 404


@pytest.mark.parametrize("alias", ["staticfiles", "cloudflare_images", "missing"])
def test_only_a_local_storage_of_this_package_is_served(alias: str, name: str, settings: Any) -> None:
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
    "body", [b"text", b"", PNG[:60], b"\0" * 100], ids=["text", "empty", "truncated", "zeros"]
)
def test_what_is_no_image_is_a_400_with_a_text(body: bytes, local: Any, settings: Any) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "VALIDATE_LOCAL_FILES": False}
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
def test_what_does_not_exist_is_not_found(path: str, name: str) -> None:
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
