"""Private images, from the field to the browser: only a signed URL shows one."""

from __future__ import annotations

import asyncio
import pickle
import traceback
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from cf_images import background, conf
from cf_images.accounts import signing_keys
from cf_images.client import DeliveryResponse, fetch_delivery_url
from cf_images.delivery import signing
from cf_images.delivery.urls import parse_url
from cf_images.exceptions import ImageNotFoundError, InvalidExpiryError, InvalidVariantError
from cf_images.markup.variant_urls import variant_url
from cf_images.storage import CloudflareImagesStorage
from tests.conftest import point_at
from tests.pictures import picture

pytestmark = pytest.mark.django_db

VARIANTS = {
    "avatar": {"width": 24, "height": 24, "fit": "cover"},
    "teaser": {"width": 12, "height": 12, "fit": "cover", "never_require_signed_urls": True},
}


@pytest.fixture
def account(cf_images_emulator: Any, settings: Any) -> Any:
    """An emulator with these variants, for a storage of private images."""
    for name, options in VARIANTS.items():
        given = {key: value for key, value in options.items() if "_" not in key}
        create_variant(cf_images_emulator, name, given, public="never_require_signed_urls" in options)
    point_at(settings, cf_images_emulator, require_signed_urls=True, queue="none", variants=VARIANTS)
    return cf_images_emulator


def create_variant(emulator: Any, name: str, options: dict[str, Any], *, public: bool) -> None:
    storage = CloudflareImagesStorage(
        account_id=emulator.account_id, api_token=emulator.api_token, api_url=emulator.api_url
    )
    existing = storage.client.list_variants()
    if name not in existing:
        storage.client.create_variant(name, options=options, never_require_signed_urls=public)


@pytest.fixture
def storage(account: Any) -> Any:
    return storages["cloudflare_images"]


@pytest.fixture
def name(storage: Any) -> str:
    return storage.save("people/jane.png", ContentFile(picture()))


def opened(url: str) -> DeliveryResponse:
    return fetch_delivery_url(url)


def bare(url: str) -> str:
    return url.partition("?")[0]


def test_only_the_signed_url_shows_the_image(storage: Any, name: str) -> None:
    url = storage.url(name)
    assert opened(url).is_image
    assert opened(bare(url)).status == 403
    assert opened(url[:-1] + ("0" if url[-1] != "0" else "1")).status == 403
    assert opened(url.replace("/public?", "/avatar?")).status == 403


def test_any_named_variant_can_be_signed(storage: Any, name: str) -> None:
    assert opened(storage.url(name, variant="avatar")).is_image


def test_a_variant_that_needs_no_signature_is_not_signed(storage: Any, name: str) -> None:
    url = storage.url(name, variant="teaser")
    assert "?" not in url
    assert opened(url).is_image


def test_the_url_is_valid_for_an_hour_at_least(storage: Any, name: str) -> None:
    left = expiry(storage.url(name)) - datetime.now(UTC).timestamp()
    assert 3599 <= left <= 5400


@pytest.mark.parametrize("expire", [60, timedelta(minutes=1)])
def test_the_lifetime_can_be_chosen(storage: Any, name: str, expire: Any) -> None:
    left = expiry(storage.url(name, expire=expire)) - datetime.now(UTC).timestamp()
    assert 59 <= left <= 90


def test_the_lifetime_of_a_storage_is_an_option(storage: Any, name: str, settings: Any) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "EXPIRE": 600}
    left = expiry(storage.url(name)) - datetime.now(UTC).timestamp()
    assert 599 <= left <= 900


def test_the_expiry_can_be_a_datetime(storage: Any, name: str) -> None:
    end = datetime.now(UTC) + timedelta(days=3)
    assert expiry(storage.url(name, expire=end)) == pytest.approx(end.timestamp(), abs=1)


@pytest.mark.parametrize("expire", [0, -5, 366 * 86_400, datetime(2020, 1, 1, tzinfo=UTC), "soon"])
def test_a_lifetime_that_no_url_can_have_is_refused(storage: Any, name: str, expire: Any) -> None:
    with pytest.raises(InvalidExpiryError):
        storage.url(name, expire=expire)


def expiry(url: str) -> int:
    return int(url.partition("exp=")[2].partition("&")[0])


def test_the_same_page_gives_the_same_url(storage: Any, name: str) -> None:
    assert len({storage.url(name, expire=86_400) for _ in range(5)}) == 1


def test_a_url_costs_no_request_after_the_first(storage: Any, name: str, account: Any) -> None:
    storage.url(name)
    before = len(account.requests)
    with CaptureQueriesContext(connection) as queries:
        for _ in range(5):
            storage.url(name, variant="avatar")
    assert len(account.requests) == before
    assert not queries


def test_flexible_variants_are_refused(storage: Any, name: str) -> None:
    for read in (lambda: storage.url(name, variant="w=20"), lambda: variant_url(storage.url(name), "w=20")):
        with pytest.raises(InvalidVariantError, match="Cloudflare signs no flexible variants"):
            read()


@pytest.mark.parametrize("name", ["DSC0~1/jane.png", "https://example.com/~jane", "jane~a.png.60x60.png"])
def test_a_tilde_alone_makes_no_image_private(
    storage: Any, settings: Any, account: Any, client: Client, name: str
) -> None:
    point_at(settings, account, require_signed_urls=False)
    assert "sig=" not in storage.url(name, variant="w=20")
    if "://" not in name:
        assert client.get(reverse("cf_images:pending", args=["public", name])).status_code == 302


def test_a_name_stays_the_same_when_the_image_becomes_public(storage: Any, name: str) -> None:
    storage.client.update(storage.image_id(name), require_signed_urls=False)
    assert storage.listdir("people") == ([], [name.removeprefix("people/")])


def test_given_names_are_refused(storage: Any, settings: Any) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "UNIQUE_NAMES": False}
    with pytest.raises(ImproperlyConfigured, match="unique_names"):
        storage.save("people/jane.png", ContentFile(picture()))


def test_a_public_image_saved_before_is_signed_too_and_shown(
    storage: Any, settings: Any, account: Any
) -> None:
    point_at(settings, account, require_signed_urls=False)
    name = storage.save("people/jane.png", ContentFile(picture()))
    point_at(settings, account, require_signed_urls=True)
    assert "sig=" in storage.url(name)
    assert opened(storage.url(name)).is_image


def test_a_private_image_stays_signed_where_the_option_is_off_again(
    storage: Any, name: str, settings: Any, account: Any
) -> None:
    point_at(settings, account, require_signed_urls=False)
    assert opened(storage.url(name)).is_image


def test_after_a_rotation_both_keys_are_valid(storage: Any, name: str, account: Any) -> None:
    before = storage.url(name)
    account.app.state.put_key("k20261121093000", limit=2)
    signing_keys.clear_cache()
    after = storage.url(name)
    assert before != after
    assert opened(before).is_image
    assert opened(after).is_image
    account.app.state.delete_key("default")
    assert opened(before).status == 403
    assert opened(after).is_image


def test_the_newest_key_of_the_settings_signs(storage: Any, name: str, settings: Any, account: Any) -> None:
    (key,) = account.signing_keys.values()
    settings.CF_IMAGES = {**settings.CF_IMAGES, "SIGNING_KEYS": ["an-old-one", key]}
    assert opened(storage.url(name)).is_image


def test_secrets_are_in_no_repr_pickle_or_traceback(storage: Any, name: str, settings: Any) -> None:
    secret = "s1gning-key-value"
    settings.CF_IMAGES = {**settings.CF_IMAGES, "SIGNING_KEYS": secret}
    given = CloudflareImagesStorage(signing_keys=[secret], account_hash="h")
    assert secret not in repr(given)
    assert secret.encode() not in pickle.dumps(given)
    assert secret not in str(given.deconstruct())
    settings.CF_IMAGES = {**settings.CF_IMAGES, "SIGNING_KEYS": f"op://{secret}"}
    with pytest.raises(ImproperlyConfigured) as caught:
        storage.url(name)
    text = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=False).format())
    assert secret not in text


class TestFilter:
    """A signed URL gets another variant only if this site made the signature."""

    def test_it_is_signed_again_until_the_same_moment(self, storage: Any, name: str) -> None:
        url = storage.url(name, expire=7200)
        other = variant_url(url, "avatar")
        assert opened(other).is_image
        assert expiry(other) == expiry(url)
        assert bare(other).endswith("/avatar")

    def test_one_without_an_expiry_stays_without_one(self, storage: Any, name: str) -> None:
        (key,) = storage.account.signing_keys()
        bare_url = parse_url(bare(storage.url(name)), conf.delivery_urls())
        assert bare_url
        other = variant_url(str(signing.sign(bare_url, key, expires_at=None)), "avatar")
        assert "exp=" not in other
        assert opened(other).is_image

    def test_a_variant_that_needs_no_signature_gets_none(self, storage: Any, name: str) -> None:
        assert "?" not in variant_url(storage.url(name), "teaser")

    @pytest.mark.parametrize("change", [lambda url: f"{url}0", lambda url: url.replace("exp=1", "exp=2")])
    def test_a_forged_one_is_returned_unchanged(self, storage: Any, name: str, change: Any) -> None:
        forged = change(storage.url(name))
        assert variant_url(forged, "avatar") == forged

    def test_the_url_of_another_account_is_returned_unchanged(
        self, storage: Any, name: str, account: Any
    ) -> None:
        foreign = storage.url(name).replace(f"/{account.account_hash}/", "/another-hash/")
        assert variant_url(foreign, "avatar") == foreign

    def test_no_key_is_shown_with_an_error(self, storage: Any, name: str, account: Any) -> None:
        url = storage.url(name)
        with pytest.raises(InvalidVariantError) as caught:
            variant_url(url, "w=20")
        printed = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
        lines = [line for frame in printed.stack for line in (frame.locals or {}).values()]
        (key,) = account.signing_keys.values()
        assert not [line for line in lines if key in line]

    def test_it_never_requests_keys(self, storage: Any, name: str, account: Any) -> None:
        url = storage.url(name)
        signing_keys.clear_cache()
        before = len(account.requests)
        assert variant_url(url, "avatar") == url, "a string from a visitor must not cause a request"
        assert len(account.requests) == before

    def test_a_custom_domain_is_signed_again(
        self, storage: Any, name: str, account: Any, settings: Any
    ) -> None:
        point_at(settings, account, require_signed_urls=True)
        custom = f"{account.delivery_url}/cdn-cgi/imagedelivery"
        settings.CF_IMAGES = {**settings.CF_IMAGES, "DELIVERY_URL": custom}
        url = storage.url(name)
        assert url.startswith(f"{custom}/")
        assert opened(url).is_image
        assert opened(variant_url(url, "avatar")).is_image

    def test_a_reverse_proxy_is_signed_again(
        self, storage: Any, name: str, account: Any, settings: Any
    ) -> None:
        template = "https://img.example.com/{variant}/{image_id}"
        settings.CF_IMAGES = {**settings.CF_IMAGES, "DELIVERY_URL": template}
        url = variant_url(storage.url(name), "avatar")
        image_id = storage.image_id(name)
        assert url.startswith(f"https://img.example.com/avatar/{image_id}?exp=")
        at_cloudflare = (
            f"{account.delivery_url}/{account.account_hash}/{image_id}/avatar?{urlsplit(url).query}"
        )
        assert opened(at_cloudflare).is_image, "the proxy needs to rewrite the path only"


class TestInTheBackground:
    @pytest.fixture
    def queued(self, storage: Any, account: Any, settings: Any) -> Any:
        point_at(settings, account, require_signed_urls=True, background=True, queue="none")
        return storage

    @pytest.fixture
    def pending(self, queued: Any) -> str:
        return queued.save("people/jane.png", ContentFile(picture()))

    def test_while_it_is_pending_the_sites_own_signature_shows_it(
        self, queued: Any, pending: str, client: Client
    ) -> None:
        url = queued.url(pending, variant="avatar")
        assert client.get(url).status_code == 200
        assert client.get(bare(url)).status_code == 403

    def test_the_filter_signs_it_again(self, queued: Any, pending: str, client: Client) -> None:
        url = variant_url(queued.url(pending), "avatar")
        assert "/avatar/" in url
        assert client.get(url).status_code == 200
        forged = f"{url}x"
        assert variant_url(forged, "public") == forged
        with pytest.raises(InvalidVariantError):
            variant_url(url, "w=20")
        assert "?" not in variant_url(url, "teaser")

    def test_the_same_page_gives_the_same_url(self, queued: Any, pending: str) -> None:
        assert len({queued.url(pending, expire=86_400) for _ in range(5)}) == 1

    def test_the_url_redirects_to_the_signed_one_afterwards(
        self, queued: Any, pending: str, client: Client
    ) -> None:
        url = queued.url(pending, variant="avatar")
        assert background.process() == 1
        target = client.get(url)["Location"]
        assert opened(target).is_image
        assert expiry(target) == expiry(url)

    def test_once_stored_it_is_signed_under_its_id(self, queued: Any, pending: str, settings: Any) -> None:
        background.process()
        url = queued.final_url(pending, "avatar", expires_at=queued.account.expiry())
        assert opened(url).is_image
        assert pending not in url
        assert opened(queued.final_url(pending, "avatar")).status == 403

    def test_flexible_variants_are_refused_while_it_is_pending(self, queued: Any, pending: str) -> None:
        with pytest.raises(InvalidVariantError):
            queued.url(pending, variant="w=20")

    def test_the_view_gives_no_signature_for_an_id(self, queued: Any, client: Client) -> None:
        name = queued.save("people/jane.png", ContentFile(picture()))
        background.process()
        response = client.get(reverse("cf_images:pending", args=["public", queued.image_id(name)]))
        assert "?" not in response["Location"]
        assert opened(response["Location"]).status == 403

    def test_a_public_image_saved_before_is_signed_with_permission_only(
        self, queued: Any, account: Any, settings: Any, client: Client
    ) -> None:
        point_at(settings, account, require_signed_urls=False)
        name = queued.save("people/jane.png", ContentFile(picture()))
        point_at(settings, account, require_signed_urls=True)
        url = queued.url(name)
        background.process()
        assert "sig=" in client.get(url)["Location"]
        assert "no-store" in client.get(url)["Cache-Control"]
        assert "?" not in client.get(bare(url))["Location"]

    def test_no_cache_keeps_a_refusal(self, queued: Any, pending: str, client: Client) -> None:
        assert "no-store" in client.get(bare(queued.url(pending)))["Cache-Control"]

    def test_async_code_gets_the_views_url_where_only_the_database_has_the_id(
        self, queued: Any, pending: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def page() -> str:
            return queued.url(pending)

        monkeypatch.setattr(background, "is_pending", lambda _name: False)
        assert asyncio.run(page()).startswith("/cf-images/pending/public/")


def test_the_url_of_a_proxy_as_a_name_is_its_image(cloudflare: Any, images: Any, settings: Any) -> None:
    name = images.save("people/jane.png", ContentFile(picture()))
    settings.CF_IMAGES = {
        **settings.CF_IMAGES,
        "DELIVERY_URL": "https://img.example.com/{variant}/{image_id}",
    }
    url = images.url(name)
    assert images.image_id(url) == name
    assert images.exists(url)
    assert images.url(url, "avatar") == f"https://img.example.com/avatar/{name}"
    settings.CF_IMAGES = {**settings.CF_IMAGES, "DELIVERY_URL": cloudflare.delivery_url}
    with pytest.raises(ImageNotFoundError):
        images.image_id(url)
