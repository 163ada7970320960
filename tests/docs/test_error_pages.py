"""Each page about an error: the example on it raises the error, with the message on it.

``CF_IMAGES_WRITE_DOCS=1`` writes the messages into the pages instead.
"""

from __future__ import annotations

import os
import re
from typing import Any

import pytest
from django.test import RequestFactory

from cf_images import exceptions, links
from cf_images.client.base import BaseClient
from cf_images.exceptions import CloudflareImagesError, RateLimitedError
from tests.docs import pages
from tests.docs.test_check_pages import write
from tests.pictures import picture

# What raises the error: the first line of a block.
EXAMPLES = {
    "CloudflareImagesError": "from cf_images.client import CloudflareImagesClient",
    "ImageRejectedError": "from django.core.files.base import ContentFile",
    "InvalidNameError": "from django.core.files.base import ContentFile",
    "InvalidVariantError": "from cf_images.variants import FlexibleVariant",
    "InvalidExpiryError": "from datetime import timedelta",
    "RenderingError": "from io import BytesIO",
    "ImageNotFoundError": "from django.core.files.storage import storages",
    "ImageExistsError": "from django.core.files.base import ContentFile",
    "CredentialsRefusedError": "from cf_images.client import CloudflareImagesClient",
    "CloudflareUnavailableError": "from cf_images.client import CloudflareImagesClient",
}
# What only Cloudflare raises.
LIMITED = RateLimitedError(
    "Rate limited. Please wait and consider throttling your request speed",
    status=429,
    code=971,
    request="POST /images/v1",
    retry_after=300,
)
CLOUDFLARE = {"BACKEND": "cf_images.storage.CloudflareImagesStorage"}
PRIVATE = "photos/cat-t9f2k0-5p2kd0qj3m8v7x1c~083eb7b2-5392-4565-b69e-aff66acddd00.jpg"


@pytest.fixture
def names(cf_images_settings: Any, settings: Any) -> dict[str, Any]:
    """What the examples do not show."""
    settings.STORAGES = {
        **settings.STORAGES,
        "given": {**CLOUDFLARE, "OPTIONS": {"unique_names": False}},
        "private": {**CLOUDFLARE, "OPTIONS": {"require_signed_urls": True}},
    }
    account = {"account_id": cf_images_settings.account_id, "api_token": cf_images_settings.api_token}
    return {**account, "png": picture(), "name": PRIVATE}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_example_raises_the_error_on_the_page(
    name: str, names: dict[str, Any], cf_images_settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {**BaseClient.__init__.__kwdefaults__, "api_url": cf_images_settings.api_url}
    monkeypatch.setattr(BaseClient.__init__, "__kwdefaults__", own)  # in place of Cloudflare's
    with pytest.raises(getattr(exceptions, name)) as raised:
        pages.block(f"errors/{name}.md", EXAMPLES[name]).run(names)
    check(name, raised.value)


def test_the_page_about_limits_has_the_message_of_cloudflare() -> None:
    check("RateLimitedError", LIMITED)


def check(name: str, error: CloudflareImagesError) -> None:
    page = f"errors/{name}.md"
    assert str(error).endswith(f" See {links.error_page(name)}")
    shown = f"cf_images.exceptions.{name}: {error}"
    if os.environ.get("CF_IMAGES_WRITE_DOCS"):
        write(page, shown)
    (seen,) = pages.blocks(page, "text")
    assert without_number(seen.text).split() == without_number(shown).split()


def without_number(message: str) -> str:
    """Return a message without the number that an operating system has for a failure."""
    return re.sub(r"Errno [0-9]+", "Errno", message)


class Failing:
    """A row whose image fails."""

    def __init__(self, error: CloudflareImagesError | None) -> None:
        self.error = error

    def save(self) -> None:
        if self.error:
            raise self.error


@pytest.mark.parametrize(
    ("page", "view"), [("CloudflareImagesError", "save_profile"), ("RateLimitedError", "save_photo")]
)
def test_the_view_on_the_page_responds_to_the_error(page: str, view: str) -> None:
    names: dict[str, Any] = {}
    pages.block(f"errors/{page}.md", "from django.http import HttpResponse").run(names)
    request = RequestFactory().get("/")
    assert names[view](request, Failing(None)).status_code == 200
    response = names[view](request, Failing(LIMITED))
    assert response.status_code == (502 if view == "save_profile" else 503)
    assert view == "save_profile" or response["Retry-After"] == "300"
