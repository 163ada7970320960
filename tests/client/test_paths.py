"""IDs and names in API paths: what is on the wire, and what never gets there."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
import respx

from cf_images.client import CloudflareImagesClient
from cf_images.exceptions import ImageNotFoundError, InvalidNameError, InvalidVariantError

from .conftest import ACCOUNT
from .hosts import PNG, Host, responding, success

UNREACHABLE = [
    "",
    ".",
    "..",
    "../variants/public",
    "a/../b",
    "a/./b",
    "a/..",
    "variants",
    "keys",
    "stats",
    "batch_token",
    "config",
    "direct_upload",
    "x" * 1025,
    "lone \ud800 surrogate",
]
READS = ["details", "delete", "download", "update"]


@pytest.mark.parametrize("image_id", UNREACHABLE)
@pytest.mark.parametrize("method", READS)
def test_an_id_that_no_image_has_is_not_found_without_asking(
    client: CloudflareImagesClient, image_id: str, method: str
) -> None:
    with respx.mock(assert_all_called=False) as network, pytest.raises(ImageNotFoundError) as caught:
        getattr(client, method)(image_id)
    assert len(caught.value.summary) < 200
    assert not network.calls


@pytest.mark.parametrize("image_id", UNREACHABLE)
def test_an_id_that_could_not_be_reached_is_not_uploaded(
    client: CloudflareImagesClient, image_id: str
) -> None:
    with pytest.raises(InvalidNameError):
        client.upload(io.BytesIO(PNG), image_id=image_id)
    with pytest.raises(InvalidNameError):
        client.upload_url("https://example.com/a.jpg", image_id=image_id)
    with pytest.raises(InvalidNameError):
        client.create_direct_upload(image_id=image_id)


@pytest.mark.parametrize("name", ["", ".", "..", "../../keys/default", "a/../../keys", "\ud800"])
@pytest.mark.parametrize("method", ["variant", "delete_variant", "create_variant", "update_variant"])
def test_a_name_that_no_variant_has_is_invalid(
    client: CloudflareImagesClient, name: str, method: str
) -> None:
    options: dict[str, Any] = {"options": {}} if method in ("create_variant", "update_variant") else {}
    with pytest.raises(InvalidVariantError):
        getattr(client, method)(name, **options)


@pytest.mark.parametrize(
    ("image_id", "segment"),
    [
        ("variants/public", "variants%2Fpublic"),
        ("avatars/jane doe.jpg", "avatars%2Fjane%20doe.jpg"),
        ("100%", "100%25"),
        ("a%2Fb", "a%252Fb"),
        ("a%2e%2e", "a%252e%252e"),
        ("%2e%2e", "%252e%252e"),
        ("ü/日本", "%C3%BC%2F%E6%97%A5%E6%9C%AC"),
        ("a?b#c&d=e", "a%3Fb%23c%26d%3De"),
        ("a\r\nHost: evil\x00", "a%0D%0AHost%3A%20evil%00"),
        ("...", "..."),
        ("~a-b_c.d", "~a-b_c.d"),
        ("/a/", "%2Fa%2F"),
        ("\\..\\", "%5C..%5C"),
        ("x" * 1024, "x" * 1024),
    ],
)
def test_an_id_is_one_segment_on_the_wire(
    serve: Callable[..., Host], client_of: Any, image_id: str, segment: str
) -> None:
    server = serve(responding(success({"id": image_id})))
    client_of(server).details(image_id)
    line = server.requests[0].partition(b"\r\n")[0].decode()
    assert line == f"GET /client/v4/accounts/{ACCOUNT}/images/v1/{segment} HTTP/1.1"


def test_a_blob_and_a_variant_are_one_segment_on_the_wire(serve: Callable[..., Host], client_of: Any) -> None:
    server = serve(responding(success({"variant": {"id": "a/b"}})))
    client = client_of(server)
    client.variant("a/b")
    with pytest.raises(Exception, match="cannot be read"):
        client.download("keys/default")
    paths = [request.split(b" ")[1].decode().partition("/images/")[2] for request in server.requests]
    assert paths[0] == "v1/variants/a%2Fb"
    assert paths[1] == "v1/keys%2Fdefault/blob"
