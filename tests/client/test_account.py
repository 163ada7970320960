"""Requests about the account, against the emulator."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import Any

import pytest

from cf_images.client import CloudflareImagesClient, Config, SigningKey
from cf_images.exceptions import (
    CloudflareUnavailableError,
    ImageNotFoundError,
    ImageRejectedError,
)
from tests.pictures import picture


@pytest.fixture
def account(cf_images_emulator: Any) -> CloudflareImagesClient:
    emulator = cf_images_emulator
    return CloudflareImagesClient(emulator.account_id, emulator.api_token, api_url=emulator.api_url)


def test_an_account_begins_with_one_key(account: CloudflareImagesClient) -> None:
    assert [key.name for key in account.signing_keys()] == ["default"]


def test_a_key_is_added_and_deleted(account: CloudflareImagesClient) -> None:
    names = [key.name for key in account.put_signing_key("second")]
    assert names == ["default", "second"]
    account.delete_signing_key("default")
    assert [key.name for key in account.signing_keys()] == ["second"]


def test_an_old_name_gets_a_new_value(account: CloudflareImagesClient) -> None:
    (before,) = account.signing_keys()
    (after,) = account.put_signing_key("default")
    assert after.name == before.name
    assert after.value != before.value


def test_a_third_key_is_refused(account: CloudflareImagesClient) -> None:
    account.put_signing_key("second")
    with pytest.raises(ImageRejectedError, match="2 signing keys"):
        account.put_signing_key("third")


def test_a_key_that_is_not_there_cannot_be_deleted(account: CloudflareImagesClient) -> None:
    with pytest.raises(ImageNotFoundError):
        account.delete_signing_key("unknown")


@pytest.mark.parametrize("name", ["", "a" * 21, "a/b", "..", "a b", "schlüssel"])
def test_a_name_that_no_key_has_is_not_sent(
    account: CloudflareImagesClient, cf_images_emulator: Any, name: str
) -> None:
    for call in (account.put_signing_key, account.delete_signing_key):
        with pytest.raises(ValueError, match="1 to 20 letters and digits"):
            call(name)
    assert not cf_images_emulator.requests


def test_a_value_is_not_shown(account: CloudflareImagesClient) -> None:
    (key,) = account.signing_keys()
    assert key == SigningKey(name="default", value=key.value)
    assert key.value not in repr(key)


def test_settings_are_read_and_changed(account: CloudflareImagesClient) -> None:
    account.update_config(flexible_variants=False, browser_ttl=7200)
    assert account.config() == Config(
        flexible_variants=False, browser_ttl=7200, preserve_content_credentials=False
    )
    account.update_config(flexible_variants=True)
    assert account.config().flexible_variants is True
    assert account.config().browser_ttl == 7200


def test_the_clock_is_cloudflares(account: CloudflareImagesClient) -> None:
    moment = account.server_time()
    assert moment is not None
    assert abs(moment - datetime.now(UTC)).total_seconds() < 60


def test_the_clock_is_there_for_a_wrong_token_too(cf_images_emulator: Any) -> None:
    emulator = cf_images_emulator
    client = CloudflareImagesClient(emulator.account_id, "wrong", api_url=emulator.api_url)
    assert client.server_time() is not None


def test_without_a_response_there_is_no_clock() -> None:
    with pytest.raises(CloudflareUnavailableError, match="cannot be reached"):
        CloudflareImagesClient("a", "token", api_url="http://127.0.0.1:9").server_time()


def test_a_private_image_with_an_id_of_ones_own_is_not_sent(
    account: CloudflareImagesClient, cf_images_emulator: Any
) -> None:
    attempts = [
        lambda: account.upload(io.BytesIO(picture()), image_id="a.png", require_signed_urls=True),
        lambda: account.upload_url("https://example.com/a.png", image_id="a.png", require_signed_urls=True),
        lambda: account.create_direct_upload(image_id="a.png", require_signed_urls=True),
    ]
    for attempt in attempts:
        with pytest.raises(ImageRejectedError, match="private images no custom IDs"):
            attempt()
    assert not cf_images_emulator.requests
