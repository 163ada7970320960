"""Images as browsers get them, against the emulator."""

from __future__ import annotations

import io
import logging
from typing import Any

import pytest

from cf_images.client import CloudflareImagesClient, fetch_delivery_url
from cf_images.exceptions import CloudflareImagesError, CloudflareUnavailableError
from tests.pictures import picture


def test_a_delivered_image_is_an_image(cf_images_emulator: Any) -> None:
    emulator = cf_images_emulator
    account = CloudflareImagesClient(emulator.account_id, emulator.api_token, api_url=emulator.api_url)
    image = account.upload(io.BytesIO(picture()), image_id="a.png")
    (url,) = [url for url in image.variants if url.endswith("/public")]
    response = fetch_delivery_url(url)
    assert response.is_image
    assert response.body


def test_a_refusal_is_a_response(cf_images_emulator: Any) -> None:
    url = f"{cf_images_emulator.delivery_url}/{cf_images_emulator.account_hash}/none/public"
    response = fetch_delivery_url(url)
    assert not response.is_image
    assert (response.status, response.code) == (404, 9404)


def test_a_signature_is_neither_logged_nor_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(CloudflareUnavailableError) as caught:
        fetch_delivery_url("http://127.0.0.1:9/hash/id/public?exp=1&sig=5ec3e7")
    assert "5ec3e7" not in str(caught.value)
    assert "5ec3e7" not in caplog.text


def test_what_is_no_url_is_refused() -> None:
    with pytest.raises(CloudflareImagesError, match="https://"):
        fetch_delivery_url("javascript:alert(1)")
