"""The fixtures that come with the package."""

from __future__ import annotations

import socket
import subprocess
import sys
from typing import Any

import httpx
import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import InMemoryStorage, storages

from cf_images import pytest_plugin
from cf_images.client import CloudflareImagesClient
from cf_images.emulator import Emulator
from cf_images.storage import CloudflareImagesStorage
from tests.app.models import Profile
from tests.pictures import picture

REAL_HOST = "api.cloudflare.com"


def test_the_settings_point_at_the_emulator(cf_images_settings: Any) -> None:
    name = storages["cloudflare_images"].save("a.png", ContentFile(picture()))
    assert list(cf_images_settings.images) == [name]


def test_the_emulator_has_the_variants_of_the_project(cf_images_settings: Any) -> None:
    variants = storages["cloudflare_images"].client.list_variants()
    assert variants["avatar"].options["width"] == 240


@pytest.mark.parametrize("turn", [1, 2])
def test_the_emulator_is_empty_at_the_beginning(cf_images_settings: Any, turn: int) -> None:
    assert not cf_images_settings.images
    storages["cloudflare_images"].save("a.png", ContentFile(picture()))


@pytest.mark.django_db
def test_fields_with_select_storage_keep_their_images_where_the_fixture_says(
    cf_images_storage: Any, settings: Any
) -> None:
    settings.STORAGES = {
        **settings.STORAGES,
        "memory": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    }
    assert isinstance(cf_images_storage("memory"), InMemoryStorage)
    profile = Profile.objects.create(image=ContentFile(picture(), name="jane.png"))
    assert storages["memory"].exists(profile.image.name)


def test_the_fields_get_their_own_storages_back() -> None:
    assert isinstance(Profile._meta.get_field("image").storage, CloudflareImagesStorage)


def test_a_request_to_the_real_account_fails_and_names_the_fixture(images_of_nobody: Any) -> None:
    with pytest.raises(pytest.fail.Exception, match=f"{REAL_HOST}.*cf_images_settings.*real_account"):
        images_of_nobody.exists("a.png")


@pytest.fixture
def images_of_nobody(settings: Any) -> Any:
    """The storage as the settings have it, without the emulator."""
    return storages["cloudflare_images"]


@pytest.mark.cf_images_real_account
def test_the_marker_lets_requests_through() -> None:
    assert socket.getaddrinfo.__name__ == "getaddrinfo"


def test_other_hosts_are_looked_up_as_ever() -> None:
    assert socket.getaddrinfo("127.0.0.1", 80)


def test_loading_the_plugin_loads_nothing_else() -> None:
    heavy = ("django", "httpx", "werkzeug", "PIL")
    script = f"import sys, cf_images.pytest_plugin; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(("flexible", "status"), [(None, 200), (True, 200), (False, 403)])
def test_the_emulator_follows_the_declarations(settings: Any, flexible: Any, status: int) -> None:
    declared = {"w": 20, "browser-ttl": 3600, "neverRequireSignedURLs": True}
    settings.CF_IMAGES = {"VARIANTS": {"small": declared}, "FLEXIBLE_VARIANTS": flexible}
    with Emulator(**pytest_plugin._declared()) as emulator:
        client = CloudflareImagesClient(emulator.account_id, emulator.api_token, api_url=emulator.api_url)
        small = client.variant("small")
        image = client.upload(ContentFile(picture()), filename="a.png")
        address = f"{emulator.delivery_url}/{emulator.account_hash}/{image.id}/w=5"
        assert httpx.get(address).status_code == status
    assert small.options == {"fit": "scale-down", "width": 20, "metadata": "none", "browser_ttl": 3600}
    assert small.never_require_signed_urls is True
