"""Each call: what it sends, and what it makes of the response."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import httpx
import pytest
import respx

from cf_images.client import BatchToken, CloudflareImagesClient, DirectUpload, Image, Stats, Variant, pool
from cf_images.exceptions import (
    CloudflareImagesError,
    CloudflareUnavailableError,
    CredentialsRefusedError,
    ImageRejectedError,
)

from .conftest import ACCOUNT, TOKEN

HERO = {"id": "hero", "options": {"fit": "cover", "width": 300}, "neverRequireSignedURLs": True}


def success(result: Any) -> httpx.Response:
    return httpx.Response(200, json={"success": True, "errors": [], "messages": [], "result": result})


def sent(router: respx.MockRouter) -> httpx.Request:
    return router.calls.last.request


def form(request: httpx.Request) -> dict[str, str]:
    """The fields of a multipart form, in order; Content-Disposition and content type go with the name."""
    boundary = request.headers["Content-Type"].partition("boundary=")[2]
    assert request.headers["Content-Type"].startswith("multipart/form-data; ")
    assert request.content.endswith(f"--{boundary}--\r\n".encode())
    assert int(request.headers["Content-Length"]) == len(request.content)
    parts = request.content.split(f"--{boundary}".encode())[1:-1]
    fields = {}
    for part in parts:
        head, _, value = part.decode("latin-1").partition("\r\n\r\n")
        fields[head.removeprefix("\r\nContent-Disposition: form-data; name=")] = value[:-2]
    return fields


def test_details_are_an_image(client: CloudflareImagesClient, cloudflare: respx.MockRouter) -> None:
    response = {
        "id": "one",
        "filename": "photo.jpg",
        "uploaded": "2024-04-20T09:51:09.559Z",
        "requireSignedURLs": True,
        "meta": {"key": ["value"]},
        "creator": "user-42",
        "variants": ["https://imagedelivery.net/hash/one/public"],
        "draft": True,
    }
    cloudflare.get("/v1/one").mock(return_value=success(response))
    assert client.details("one") == Image(
        id="one",
        filename="photo.jpg",
        uploaded_at=datetime(2024, 4, 20, 9, 51, 9, 559000, UTC),
        require_signed_urls=True,
        metadata={"key": ["value"]},
        creator="user-42",
        variants=("https://imagedelivery.net/hash/one/public",),
        draft=True,
    )
    assert sent(cloudflare).headers["Authorization"] == f"Bearer {TOKEN}"
    assert sent(cloudflare).headers["User-Agent"].startswith("django-cf-images/")


@pytest.mark.parametrize("uploaded", [None, "yesterday", 5, "0001-01-01T00:00:00+10:00"])
def test_what_an_image_does_not_have_is_empty(
    client: CloudflareImagesClient, cloudflare: respx.MockRouter, uploaded: Any
) -> None:
    cloudflare.get("/v1/one").mock(return_value=success({"id": "one", "uploaded": uploaded, "meta": None}))
    assert client.details("one") == Image(id="one")


def test_a_moment_without_a_time_zone_is_utc(
    client: CloudflareImagesClient, cloudflare: respx.MockRouter
) -> None:
    cloudflare.get("/v1/one").mock(return_value=success({"id": "one", "uploaded": "2024-04-20T09:51:09"}))
    assert client.details("one").uploaded_at == datetime(2024, 4, 20, 9, 51, 9, tzinfo=UTC)


def test_metadata_is_read_under_its_old_name_too(
    client: CloudflareImagesClient, cloudflare: respx.MockRouter
) -> None:
    cloudflare.get("/v1/one").mock(return_value=success({"id": "one", "metadata": {"a": 1}}))
    assert client.details("one").metadata == {"a": 1}


def test_update_sends_what_is_given(client: CloudflareImagesClient, cloudflare: respx.MockRouter) -> None:
    cloudflare.patch("/v1/one").mock(return_value=success({"id": "two"}))
    image = client.update("one", metadata={}, require_signed_urls=False, creator="me")
    assert image.id == "two"
    assert json.loads(sent(cloudflare).content) == {
        "metadata": {},
        "requireSignedURLs": False,
        "creator": "me",
    }
    client.update("one", require_signed_urls=True)
    assert json.loads(sent(cloudflare).content) == {"requireSignedURLs": True}


def test_update_checks_metadata_first(client: CloudflareImagesClient, cloudflare: respx.MockRouter) -> None:
    with pytest.raises(ImageRejectedError, match="1024"):
        client.update("one", metadata={"a": "x" * 2000})
    assert not cloudflare.calls


@pytest.mark.parametrize("result", [{}, "", None])
def test_delete_does_not_mind_what_is_answered(
    client: CloudflareImagesClient, cloudflare: respx.MockRouter, result: Any
) -> None:
    route = cloudflare.delete("/v1/one").mock(return_value=success(result))
    client.delete("one")
    assert route.call_count == 1


def test_upload_url_is_a_form(client: CloudflareImagesClient, cloudflare: respx.MockRouter) -> None:
    cloudflare.post("/v1").mock(return_value=success({"id": "a/b"}))
    image = client.upload_url(
        "https://example.com/ü.jpg", image_id="a/b", metadata={"ä": [1, None]}, creator="me"
    )
    assert image == Image(id="a/b")
    assert form(sent(cloudflare)) == {
        '"url"': "https://example.com/%C3%BC.jpg",
        '"requireSignedURLs"': "false",
        '"id"': "a/b",
        '"metadata"': '{"ä":[1,null]}'.encode().decode("latin-1"),
        '"creator"': "me",
    }


def test_stats(client: CloudflareImagesClient, cloudflare: respx.MockRouter) -> None:
    cloudflare.get("/v1/stats").mock(return_value=success({"count": {"current": 3, "allowed": 100000}}))
    assert client.stats() == Stats(current=3, allowed=100000)


def test_list_images_pages_itself(client: CloudflareImagesClient, cloudflare: respx.MockRouter) -> None:
    cloudflare.get("/v2").mock(
        side_effect=[
            success({"images": [{"id": "a"}, {"id": "b"}], "continuation_token": "t+1"}),
            success({"images": [], "continuation_token": "t2"}),
            success({"images": [{"id": "c"}], "continuation_token": None}),
        ]
    )
    images = client.list_images(per_page=2, sort_order="asc", creator="")
    assert not cloudflare.calls
    assert [image.id for image in images] == ["a", "b", "c"]
    queries = [dict(call.request.url.params) for call in cloudflare.calls]
    first = {"per_page": "2", "sort_order": "asc", "creator": ""}
    tokens = [{}, {"continuation_token": "t+1"}, {"continuation_token": "t2"}]
    assert queries == [first | token for token in tokens]


@pytest.mark.parametrize("last", [{}, {"continuation_token": ""}])
def test_list_images_ends_without_a_token(
    client: CloudflareImagesClient, cloudflare: respx.MockRouter, last: dict[str, str]
) -> None:
    cloudflare.get("/v2").mock(return_value=success({"images": [{"id": "a"}], **last}))
    assert [image.id for image in client.list_images()] == ["a"]
    assert dict(sent(cloudflare).url.params) == {"per_page": "1000"}


def test_list_images_does_not_go_round_in_circles(
    client: CloudflareImagesClient, cloudflare: respx.MockRouter
) -> None:
    cloudflare.get("/v2").mock(return_value=success({"images": [{"id": "a"}], "continuation_token": "t"}))
    with pytest.raises(CloudflareUnavailableError, match="repeats itself"):
        list(client.list_images())
    assert len(cloudflare.calls) == 2


def test_list_images_filters_by_metadata(
    client: CloudflareImagesClient, cloudflare: respx.MockRouter
) -> None:
    cloudflare.get("/v2").mock(return_value=success({"images": []}))
    list(client.list_images(meta={"a.token": "12", "public": True, "n": 1.5, "size[gte:number]": 10}))
    query = dict(sent(cloudflare).url.params)
    assert query == {
        "per_page": "1000",
        "meta.a.token[eq:string]": "12",
        "meta.public[eq:boolean]": "true",
        "meta.n[eq:number]": "1.5",
        "meta.size[gte:number]": "10",
    }


@pytest.mark.parametrize("result", [{}, {"images": None}, {"images": [{}]}, {"images": ["a"]}])
def test_an_odd_list_is_unreadable(
    client: CloudflareImagesClient, cloudflare: respx.MockRouter, result: Any
) -> None:
    cloudflare.get("/v2").mock(return_value=success(result))
    with pytest.raises(CloudflareUnavailableError):
        list(client.list_images())


def test_variants_are_read_and_written(client: CloudflareImagesClient, cloudflare: respx.MockRouter) -> None:
    hero = Variant(id="hero", options={"fit": "cover", "width": 300}, never_require_signed_urls=True)
    cloudflare.get("/v1/variants").mock(return_value=success({"variants": {"hero": HERO}}))
    cloudflare.post("/v1/variants").mock(return_value=success({"variant": HERO}))
    cloudflare.get("/v1/variants/hero").mock(return_value=success({"variant": HERO}))
    cloudflare.patch("/v1/variants/hero").mock(return_value=success({"variant": HERO}))
    cloudflare.delete("/v1/variants/hero").mock(return_value=success({}))
    assert client.list_variants() == {"hero": hero}
    assert client.variant("hero") == hero
    assert client.create_variant("hero", options={"width": 300}) == hero
    assert json.loads(sent(cloudflare).content) == {
        "id": "hero",
        "options": {"width": 300},
        "neverRequireSignedURLs": False,
    }
    assert client.update_variant("hero", options={"width": 1}) == hero
    assert json.loads(sent(cloudflare).content) == {"options": {"width": 1}}
    client.update_variant("hero", options={}, never_require_signed_urls=False)
    assert json.loads(sent(cloudflare).content) == {"options": {}, "neverRequireSignedURLs": False}
    client.delete_variant("hero")
    assert sent(cloudflare).method == "DELETE"


def test_a_direct_upload_is_reserved(client: CloudflareImagesClient, cloudflare: respx.MockRouter) -> None:
    url = "https://upload.imagedelivery.net/hash/a%2Fb"
    cloudflare.post("/v2/direct_upload").mock(return_value=success({"id": "a/b", "uploadURL": url}))
    moment = datetime(2026, 11, 21, 3, 4, 5, 999, timezone(timedelta(hours=1)))
    reserved = client.create_direct_upload(image_id="a/b", metadata={"a": 1}, creator="me", expires_at=moment)
    assert reserved == DirectUpload(id="a/b", upload_url=url)
    assert form(sent(cloudflare)) == {
        '"requireSignedURLs"': "false",
        '"id"': "a/b",
        '"metadata"': '{"a":1}',
        '"creator"': "me",
        '"expiry"': "2026-11-21T02:04:05Z",
    }


def test_a_direct_upload_never_sends_an_empty_form(
    client: CloudflareImagesClient, cloudflare: respx.MockRouter
) -> None:
    cloudflare.post("/v2/direct_upload").mock(return_value=success({"id": "x", "uploadURL": "https://u"}))
    client.create_direct_upload()
    assert form(sent(cloudflare)) == {'"requireSignedURLs"': "false"}
    client.create_direct_upload(require_signed_urls=True)
    assert form(sent(cloudflare)) == {'"requireSignedURLs"': "true"}


def test_a_batch_token_has_its_nanoseconds_cut(
    client: CloudflareImagesClient, cloudflare: respx.MockRouter
) -> None:
    response = {"token": "opaque", "expiresAt": "2026-01-01T00:00:00.123456789Z"}
    cloudflare.get("/v1/batch_token").mock(return_value=success(response))
    moment = datetime(2026, 1, 1, 0, 0, 0, 123456, UTC)
    assert client.batch_token() == BatchToken(token="opaque", expires_at=moment)


def test_api_url_may_end_with_a_slash(cloudflare: respx.MockRouter) -> None:
    cloudflare.get("/v1/one").mock(return_value=success({"id": "one"}))
    client = CloudflareImagesClient(ACCOUNT, TOKEN, api_url="https://api.cloudflare.com/client/v4/")
    assert client.details("one").id == "one"


@pytest.mark.parametrize(
    "api_url", ["", "api.cloudflare.com", "ftp://x/", "https://", "https://a\nb", "https://a:b/"]
)
def test_an_api_url_that_is_none_is_refused(api_url: str) -> None:
    with pytest.raises(CloudflareImagesError, match="api_url"):
        CloudflareImagesClient(ACCOUNT, TOKEN, api_url=api_url)


@pytest.mark.parametrize("value", ["", "abc\n", "a b", "tökn", "a\x00b", "a\x7f"])
def test_credentials_that_cannot_be_sent_are_refused_at_once(value: str) -> None:
    with pytest.raises(CredentialsRefusedError, match="API token"):
        CloudflareImagesClient(ACCOUNT, value)
    with pytest.raises(CredentialsRefusedError, match="account ID"):
        CloudflareImagesClient(value, TOKEN)


@pytest.mark.parametrize("options", [{}, {"using": "httpcore"}], ids=["default", "httpcore"])
@pytest.mark.parametrize("proxy", ["", "http://proxy.example:3128"], ids=["direct", "proxy"])
def test_respx_intercepts_requests(
    client: CloudflareImagesClient, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], proxy: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    pool.close()
    url = f"https://api.cloudflare.com/client/v4/accounts/{ACCOUNT}/images/v1"
    with respx.mock(**options) as router:
        router.get(f"{url}/one").mock(return_value=success({"id": "one"}))
        router.get(f"{url}/one/blob").respond(200, content=b"bytes", content_type="image/png")
        router.get(f"{url}/two").mock(side_effect=httpx.ConnectError("down"))
        assert client.details("one").id == "one"
        assert client.download("one").read() == b"bytes"
        with pytest.raises(CloudflareUnavailableError, match="down"):
            client.details("two")
    pool.close()


def test_what_replaces_httpx_itself_intercepts_nothing_and_the_guard_says_so(
    client: CloudflareImagesClient,
) -> None:
    with respx.mock(using="httpx", assert_all_called=False) as router:
        route = router.get(url__regex=".*").mock(return_value=success({"id": "one"}))
        with pytest.raises(pytest.fail.Exception, match="real Cloudflare account"):
            client.details("one")
    assert not route.called
