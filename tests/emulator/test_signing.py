"""Private images: signatures after Cloudflare's page, computed independently of the emulator."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

from cf_images.emulator import signing
from tests.emulator.conftest import Account
from tests.emulator.test_delivery import delivery_error
from tests.emulator.test_direct_uploads import Clock

KEY = "example-signing-key-0001"
PATH = "/Vi7wi5KSItxGFsWRG2Us6Q/083eb7b2-5392-4565-b69e-aff66acddd00/public"
SIGNATURE = "d6d4187280710906516836d6cea0c82391974fb30dbf86cd359ea6a7d0e718b9"
SIGNATURE_WITHOUT_EXPIRY = "9ac685906cf4962328900ac3f1304239031fbea1fa17026493cce0dbd7d9b345"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (f"exp=1893456000&sig={SIGNATURE}", 1893456000.0),
        (f"sig={SIGNATURE}&exp=1893456000", 1893456000.0),
        (f"sig={SIGNATURE_WITHOUT_EXPIRY}", float("inf")),
        (f"exp=1893456001&sig={SIGNATURE}", None),
        (f"exp=1893456000&sig={SIGNATURE_WITHOUT_EXPIRY}", None),
        (f"sig={SIGNATURE}", None),
        (f"exp=1893456000&a=b&sig={SIGNATURE}", None),
        (f"exp=1893456000&sig={SIGNATURE}&sig={SIGNATURE}", None),
        (f"exp=1893456000&sig={SIGNATURE.upper()}", None),
        ("exp=1893456000&sig=ü", None),
        ("exp=1893456000&sig=", None),
        ("exp=1893456000", None),
        ("", None),
    ],
)
def test_the_published_vectors_verify_and_nothing_else(query: str, expected: float | None) -> None:
    assert signing.expiry(PATH, query, keys=["another key", KEY]) == expected


@pytest.mark.parametrize("exp", ["never", "-1", "", "1e9", "²", "1&exp=2"])
def test_a_signed_expiry_that_is_not_a_time_is_invalid(exp: str) -> None:
    signature = signing.sign(f"{PATH}?exp={exp}", key=KEY)
    assert signing.expiry(PATH, f"exp={exp}&sig={signature}", keys=[KEY]) is None


class Private:
    """An account with a private image, a clock, and a signer after Cloudflare's sample code."""

    def __init__(self, account: Account, clock: Clock) -> None:
        self.account = account
        self.clock = clock
        self.image: Any = account.upload(requireSignedURLs="true")

    def key(self, name: str = "default") -> str:
        found = self.account("GET", "v1/keys").json()["result"]["keys"]
        return next(key["value"] for key in found if key["name"] == name)

    def url(self, variant: str = "public", *, seconds: float | None = 3_600, key: str | None = None) -> str:
        url = self.image["variants"][0].rpartition("/")[0] + "/" + variant
        if seconds is not None:
            url += f"?exp={int(self.clock.now + seconds)}"
        message = url.removeprefix(self.account.emulator.delivery_url)
        signature = hmac.new((key or self.key()).encode(), message.encode(), hashlib.sha256).hexdigest()
        return f"{url}{'?' if seconds is None else '&'}sig={signature}"

    def get(self, url: str) -> Any:
        return self.account.http.get(url)


@pytest.fixture
def private(account_of: Callable[..., Account]) -> Private:
    clock = Clock()
    return Private(account_of(clock=clock, variants={"avatar": {"width": 10}}), clock)


def test_a_private_image_needs_a_signature(private: Private) -> None:
    assert delivery_error(private.get(private.image["variants"][0])) == (403, 9425)
    assert private.get(private.url()).status_code == 200
    assert private.get(private.url(seconds=None)).status_code == 200


def test_a_signature_is_valid_for_its_own_path_only(private: Private) -> None:
    url = private.url()
    assert delivery_error(private.get(url.replace("/public", "/avatar"))) == (403, 9425)
    other = private.account.upload(requireSignedURLs="true")
    assert delivery_error(private.get(url.replace(private.image["id"], other["id"]))) == (403, 9425)


def test_a_signature_expires(private: Private) -> None:
    url = private.url(seconds=60)
    private.clock.now += 59
    assert private.get(url).status_code == 200
    private.clock.now += 1
    response = private.get(url)
    assert delivery_error(response) == (403, 9425)
    assert "expired" in response.text


def test_on_a_custom_domain_the_short_path_is_signed(private: Private) -> None:
    url = urlsplit(private.url())
    long = f"{private.account.emulator.delivery_url}/cdn-cgi/imagedelivery{url.path}?{url.query}"
    assert private.get(long).status_code == 200


def test_both_keys_are_valid_until_one_is_deleted(private: Private) -> None:
    old = private.url()
    private.account("PUT", "v1/keys/second")
    new = private.url(key=private.key("second"))
    assert [private.get(old).status_code, private.get(new).status_code] == [200, 200]
    private.account("DELETE", "v1/keys/default")
    assert [private.get(old).status_code, private.get(new).status_code] == [403, 200]
    private.account("PUT", "v1/keys/second")
    assert private.get(new).status_code == 403


def test_a_flexible_variant_cannot_be_signed(private: Private) -> None:
    assert delivery_error(private.get(private.url("w=10"))) == (403, 9425)


def test_a_variant_can_deliver_private_images_without_a_signature(private: Private) -> None:
    change = {"options": {"width": 10}, "neverRequireSignedURLs": True}
    private.account("PATCH", "v1/variants/avatar", json=change)
    assert private.account.deliver(private.image, "avatar").status_code == 200
    assert private.account.deliver(private.image, "public").status_code == 403


def test_browsers_cache_a_private_image_no_longer_than_its_signature(private: Private) -> None:
    headers = [private.get(private.url(seconds=seconds)).headers for seconds in (60, 90_000, None)]
    assert [header["cache-control"] for header in headers] == [
        "private, max-age=60, stale-while-revalidate=60",
        "private, max-age=3600, stale-while-revalidate=3600",
        "private, max-age=3600, stale-while-revalidate=3600",
    ]


def test_a_signed_url_of_a_public_image_is_harmless(private: Private) -> None:
    private.image = private.account.upload()
    assert private.get(private.url()).status_code == 200
    assert private.get(private.image["variants"][0] + "?exp=1&sig=x").status_code == 200
