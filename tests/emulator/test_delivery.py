"""Delivery: named and flexible variants, formats, headers, errors, the cache of renditions."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from cf_images import rendering
from cf_images.emulator.limits import Limits
from cf_images.emulator.renditions import MemoryRenditions, Rendition
from tests.emulator.conftest import PNG, Account, picture
from tests.emulator.test_uploads import HEIC, animation
from tests.images.builders import HEIC as HEIC_PHOTO

BROWSER = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"
PHOTO = picture("JPEG", (400, 300))
EVIL_SVG = (
    b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><script>alert(2)</script>'
    b'<image href="http://example.com/a.png"/><image href="data:image/png;base64,AAAA"/>'
    b'<rect width="5" height="5" fill="red"/></svg>'
)


def opened(response: httpx.Response) -> Image.Image:
    """Open the delivered image."""
    assert response.status_code == 200, response.text
    return Image.open(io.BytesIO(response.content))


def delivery_error(response: httpx.Response) -> tuple[int, int]:
    """Return status and code of an error in plain text; check that header and text agree."""
    assert response.headers["content-type"].startswith("text/plain")
    assert response.headers["cache-control"] == "no-store"
    code = int(response.headers["cf-images"].removeprefix("err="))
    assert response.text.startswith(f"ERROR {code}: ")
    return response.status_code, code


def test_a_named_variant_is_rendered_as_it_was_declared(account: Account) -> None:
    account(
        "POST", "v1/variants", json={"id": "avatar", "options": {"width": 50, "height": 50, "fit": "cover"}}
    )
    assert opened(account.deliver(account.upload(PHOTO), "avatar")).size == (50, 50)


def test_a_changed_variant_is_rendered_again(account: Account) -> None:
    image = account.upload(PHOTO)
    assert opened(account.deliver(image)).size == (400, 300)
    account("PATCH", "v1/variants/public", json={"options": {"width": 20}})
    assert opened(account.deliver(image)).size == (20, 15)


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ("w=100", (100, 75)),
        ("width=100,height=100,fit=cover", (100, 100)),
        ("w=100,dpr=2", (200, 150)),
        ("w%3D100", (100, 75)),
        ("rotate=90,w=30", (30, 40)),
        ("w=60,h=60,fit=pad,background=%23ff0000", (60, 60)),
        ("width=abc,h=30", (40, 30)),
        ("w=-1", (400, 300)),
        ("unknown=1", (400, 300)),
        ("w=100,blur=20,sharpen=1,brightness=2,contrast=2,gamma=2,saturation=0", (100, 75)),
    ],
)
def test_a_flexible_variant_is_rendered_with_the_options_in_the_url(
    account: Account, options: str, size: tuple[int, int]
) -> None:
    assert opened(account.deliver(account.upload(PHOTO), options)).size == size


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("blur=9999", (400, 9401)),
        ("format=bmp", (400, 9401)),
        ("w=1e9,fit=contain", (403, 9413)),
        ("nope", (403, 9425)),
        ("no-such-variant", (403, 9425)),
        (",".join(["w=10"] * 1000), (403, 9426)),
    ],
)
def test_unsupported_options_are_errors(account: Account, options: str, expected: tuple[int, int]) -> None:
    assert delivery_error(account.deliver(account.upload(PHOTO), options)) == expected


def test_flexible_variants_can_be_switched_off(account_of: Callable[..., Account]) -> None:
    account = account_of(flexible_variants=False)
    image = account.upload(PHOTO)
    assert delivery_error(account.deliver(image, "w=10")) == (403, 9429)
    assert account.deliver(image, "public").status_code == 200


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/{hash}/missing/public", (404, 9404)),
        ("/other/a/public", (403, 9427)),
        ("/cdn-cgi/imagedelivery/other/a/public", (403, 9427)),
        ("/{hash}/a", (400, 9424)),
        ("/{hash}//public", (400, 9424)),
        ("/{hash}/a/", (400, 9424)),
        ("/{hash}", (400, 9424)),
        ("/favicon.ico", (400, 9424)),
    ],
)
def test_a_path_without_an_image_is_an_error(account: Account, path: str, expected: tuple[int, int]) -> None:
    account.upload(id="a")
    url = account.emulator.delivery_url + path.format(hash=account.emulator.account_hash)
    assert delivery_error(account.http.get(url)) == expected


@pytest.mark.parametrize("path", ["a/b%20c/%C3%BC.png", "a%2Fb%20c%2F%C3%BC.png"])
@pytest.mark.parametrize("prefix", ["", "/cdn-cgi/imagedelivery"])
def test_both_forms_of_url_and_of_slashes_deliver_the_image(account: Account, prefix: str, path: str) -> None:
    account.upload(id="a/b c/ü.png")
    emulator = account.emulator
    response = account.http.get(f"{emulator.delivery_url}{prefix}/{emulator.account_hash}/{path}/public")
    assert opened(response).size == (64, 48)


def test_an_id_is_decoded_once(account: Account) -> None:
    account.upload(id="100%25")
    emulator = account.emulator
    base = f"{emulator.delivery_url}/{emulator.account_hash}"
    assert account.http.get(f"{base}/100%2525/public").status_code == 200
    assert account.http.get(f"{base}/100%25/public").status_code == 404


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (BROWSER, "image/avif"),
        ("image/webp,*/*", "image/webp"),
        ("*/*", "image/jpeg"),
        ("", "image/jpeg"),
    ],
)
def test_the_format_follows_the_accept_header(account: Account, accept: str, kind: str) -> None:
    response = account.deliver(account.upload(PHOTO), Accept=accept)
    assert (response.headers["content-type"], response.headers["vary"]) == (kind, "Accept")
    assert opened(response).get_format_mimetype() == kind


def test_each_format_is_cached_separately(account: Account) -> None:
    image = account.upload(PHOTO)
    kinds = [
        account.deliver(image, Accept=accept).headers["content-type"] for accept in (BROWSER, "*/*", BROWSER)
    ]
    assert kinds == ["image/avif", "image/jpeg", "image/avif"]


def test_headers_are_those_of_the_service(account: Account) -> None:
    headers = account.deliver(account.upload(PHOTO)).headers
    assert headers["cache-control"] == "public, max-age=172800, stale-while-revalidate=7200"
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cf-images"].startswith("internal=ok/m ")
    assert headers["etag"].startswith('"cf')
    assert "warning" not in headers


def test_a_variant_can_have_its_own_browser_ttl(account: Account) -> None:
    account("PATCH", "v1/variants/public", json={"options": {"width": 10, "browser_ttl": 3_600}})
    assert "max-age=3600" in account.deliver(account.upload()).headers["cache-control"]


def test_unsupported_effects_are_reported_in_warning_headers(account: Account) -> None:
    response = account.deliver(account.upload(PHOTO), "w=50,h=50,fit=cover,gravity=face,segment=foreground")
    assert [warning.startswith('cf-images 299 "') for warning in response.headers.get_list("warning")] == [
        True,
        True,
    ]


def test_a_conditional_request_for_an_unchanged_image_gets_no_body(account: Account) -> None:
    image = account.upload(PHOTO)
    first = account.deliver(image)
    again = account.deliver(image, **{"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    assert again.headers["cache-control"] == first.headers["cache-control"]
    since = account.deliver(image, **{"If-Modified-Since": first.headers["last-modified"]})
    assert since.status_code == 304
    assert account.deliver(image, "w=10", **{"If-None-Match": first.headers["etag"]}).status_code == 200


def test_head_has_the_headers_of_get(account: Account) -> None:
    url = account.upload(PHOTO)["variants"][0]
    head, get = account.http.head(url), account.http.get(url)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == get.headers["content-length"] == str(len(get.content))


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_only_get_and_head_are_allowed(account: Account, method: str) -> None:
    assert delivery_error(account.http.request(method, account.upload()["variants"][0]))[0] == 405


def test_json_describes_the_image(account: Account) -> None:
    response = account.deliver(account.upload(PHOTO), "w=100,format=json")
    assert response.json() == {
        "width": 100,
        "height": 75,
        "original": {"file_size": len(PHOTO), "width": 400, "height": 300, "format": "image/jpeg"},
    }


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_an_animation_stays_animated(account: Account, kind: str) -> None:
    image = account.upload(animation(kind, 3, (40, 40)), kind=f"image/{kind.lower()}")
    moving: Any = opened(account.deliver(image, "w=20", Accept="image/webp"))
    assert (moving.n_frames, moving.size) == (3, (20, 20))
    assert getattr(opened(account.deliver(image, "w=20,anim=false")), "n_frames", 1) == 1


def test_svg_is_sanitized_and_not_resized(account: Account) -> None:
    image = account.upload(EVIL_SVG, name="a.svg", kind="image/svg+xml")
    response = account.deliver(image, "w=10")
    assert response.headers["content-type"].startswith("image/svg+xml")
    for bad in ("script", "alert", "onload", "example.com"):
        assert bad not in response.text
    assert '<rect fill="red" height="5" width="5"/>' in response.text
    assert "data:image/png" in response.text
    assert account("GET", f"v1/{image['id']}/blob").content == EVIL_SVG


def test_an_svg_that_is_not_xml_is_an_error(account: Account) -> None:
    image = account.upload(b"<svg", kind="image/svg+xml")
    assert delivery_error(account.deliver(image)) == (422, 9516)


def test_delivery_of_a_truncated_jpeg_is_an_error(account: Account) -> None:
    body = picture("JPEG", (900, 900), color="red", quality=95)
    image = account.upload(body[:700], kind="image/jpeg")
    assert delivery_error(account.deliver(image)) == (422, 9516)


def test_heic_is_stored_and_rendered_where_pillow_reads_it(account: Account) -> None:
    image = account.upload(HEIC_PHOTO, kind="image/heic")
    delivered = account.deliver(image, "w=40", Accept="image/webp")
    assert delivered.headers["Content-Type"] == "image/webp"
    assert Image.open(io.BytesIO(delivered.content)).size == (40, 32)


def test_heic_is_stored_and_not_rendered_elsewhere(account: Account, without_heic: None) -> None:
    image = account.upload(HEIC, kind="image/heic")
    assert delivery_error(account.deliver(image)) == (415, 9412)


def test_no_rendering_is_larger_than_the_limit(account_of: Callable[..., Account]) -> None:
    account = account_of(limits=Limits(area=1_000_000))
    image = account.upload(PHOTO)
    assert delivery_error(account.deliver(image, "w=4000,fit=contain")) == (403, 9413)


@pytest.mark.parametrize("stored", [False, True], ids=["in-memory", "on-disk"])
def test_a_rendition_is_made_once(
    account_of: Callable[..., Account], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stored: bool
) -> None:
    made: list[rendering.Transform] = []
    render = rendering.render

    def counted(source: Any, transform: rendering.Transform, **options: Any) -> rendering.Rendering:
        made.append(transform)
        return render(source, transform, **options)

    monkeypatch.setattr(rendering, "render", counted)
    account = account_of(data=tmp_path if stored else None)
    image = account.upload(PHOTO)
    responses = [
        account.deliver(image, options) for options in ("w=10,gravity=face", "gravity=face,width=10")
    ]
    assert len(made) == 1
    assert responses[0].content == responses[1].content
    assert responses[0].headers["warning"] == responses[1].headers["warning"]
    account("DELETE", f"v1/{image['id']}")
    assert account.deliver(image, "w=10").status_code == 404
    if stored:
        assert not [path for path in (tmp_path / "renditions").rglob("*") if path.is_file()]


def test_renditions_on_disk_survive_a_restart_and_are_dropped_by_a_reset(
    account_of: Callable[..., Account], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    account = account_of(data=tmp_path)
    expected = account.deliver(account.upload(PHOTO, id="a"), "w=10").content
    account.emulator.close()
    monkeypatch.setattr(rendering, "render", None)
    account = account_of(data=tmp_path)
    image = account("GET", "v1/a").json()["result"]
    assert account.deliver(image, "w=10").content == expected
    account.emulator.reset()
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and "sqlite3" not in path.name]


def test_memory_holds_the_latest_renditions_only() -> None:
    cache = MemoryRenditions(limit=100)
    for name in ("a", "b", "a", "c"):
        cache.put("image", name, Rendition(body=b"x" * 40, content_type="image/png"))
        cache.get("image", "a")
    assert [bool(cache.get("image", name)) for name in ("a", "b", "c")] == [True, False, True]
    cache.clear("other")
    assert cache.get("image", "a")
    cache.clear("image")
    assert cache.get("image", "a") is None


def test_bytes_that_vanish_during_a_request_are_not_found(
    account_of: Callable[..., Account], tmp_path: Path
) -> None:
    account = account_of(data=tmp_path)
    image = account.upload(PNG)
    for path in (tmp_path / "images").iterdir():
        if path.is_file():
            path.unlink()
    assert delivery_error(account.deliver(image)) == (404, 9404)
    assert account("GET", f"v1/{image['id']}/blob").status_code == 404
