"""A setting that cannot be parsed names itself, wherever it is used."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.files.base import ContentFile
from django.core.files.storage import storages

from cf_images import conf
from tests.pictures import picture

WRONG_URLS = [
    *("http://[bad", "not a url", "ftp://x/y", "//x", "https://", "http://x:port/", "http://x:99999/"),
    *("http://ex ample/", "https://example.com\n"),
]


@pytest.mark.parametrize("url", WRONG_URLS)
def test_url_that_cannot_be_parsed_names_its_setting(url: str, settings: Any) -> None:
    settings.CF_IMAGES = {"API_URL": url}
    with pytest.raises(ImproperlyConfigured) as wrong:
        storages["cloudflare_images"].save("a.png", ContentFile(picture()))
    assert f'CF_IMAGES["API_URL"] cannot be {url!r}: ' in str(wrong.value)
    settings.CF_IMAGES = {"DELIVERY_URL": url}
    with pytest.raises(ImproperlyConfigured) as wrong:
        storages["cloudflare_images"].url("a.png")
    assert f'CF_IMAGES["DELIVERY_URL"] cannot be {url!r}: ' in str(wrong.value)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8787/client/v4", "https://bücher.example", "http://[::1]:1/"]
)
def test_other_urls_are_accepted(url: str, settings: Any) -> None:
    settings.CF_IMAGES = {"API_URL": url, "DELIVERY_URL": url}
    assert conf.StorageOptions({}).api_url == url
    assert conf.StorageOptions({}).delivery_url == url


def test_password_in_a_wrong_url_is_hidden(settings: Any) -> None:
    settings.CF_IMAGES = {"API_URL": "https://user:secret@x:port/"}
    with pytest.raises(ImproperlyConfigured, match=re.escape("'https://…@x:port/'")) as wrong:
        conf.StorageOptions({}).api_url  # noqa: B018
    assert "secret" not in str(wrong.value)


@pytest.mark.parametrize("variant", ["no such", "a/b"])
def test_default_variant_that_is_none_names_its_setting(variant: str, settings: Any) -> None:
    settings.CF_IMAGES = {"VARIANT": variant}
    with pytest.raises(ImproperlyConfigured, match=re.escape(f'CF_IMAGES["VARIANT"] cannot be {variant!r}')):
        storages["cloudflare_images"].url("a.png")
