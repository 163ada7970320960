"""pytest fixtures for projects that store images with this package, and a guard for their real account.

Loaded into every test run of an environment that has the package, so it imports next to nothing before a
fixture is used, and changes nothing outside of this package. The fixtures with ``settings`` need
pytest-django.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from cf_images.client import guard

if TYPE_CHECKING:
    from django.core.files.storage import Storage

    from cf_images.emulator import Emulator

MARKER = "cf_images_real_account"
_REAL_HOSTS = frozenset({"api.cloudflare.com", "upload.imagedelivery.net", "batch.imagedelivery.net"})


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", f"{MARKER}: this test may send requests to Cloudflare itself")


@pytest.fixture(scope="session")
def cf_images_emulator_server() -> Iterator[Emulator]:
    """The emulator of this session, in memory, with the variants that the project declares.

    Tests use ``cf_images_emulator`` or ``cf_images_settings``.
    """
    from cf_images.emulator import Emulator

    with Emulator(**_declared()) as emulator:
        yield emulator


@pytest.fixture
def cf_images_emulator(cf_images_emulator_server: Emulator) -> Iterator[Emulator]:
    """A local Cloudflare Images on a free port, empty at the start of each test."""
    from cf_images.accounts import signing_keys

    cf_images_emulator_server.reset()
    signing_keys.clear_cache()  # the account has new ones
    yield cf_images_emulator_server
    cf_images_emulator_server.reset()


@pytest.fixture
def cf_images_settings(cf_images_emulator: Emulator, settings: Any) -> Emulator:
    """The emulator, with ``CF_IMAGES`` pointing at it; OPTIONS of a storage still win."""
    emulator = cf_images_emulator
    settings.CF_IMAGES = {
        **getattr(settings, "CF_IMAGES", {}),
        "ACCOUNT_ID": emulator.account_id,
        "API_TOKEN": emulator.api_token,
        "ACCOUNT_HASH": emulator.account_hash,
        "API_URL": emulator.api_url,
        "DELIVERY_URL": emulator.delivery_url,
    }
    return emulator


@pytest.fixture
def cf_images_storage() -> Iterator[Callable[[str], Storage]]:
    """``cf_images_storage("default")`` makes every field with ``select_storage`` use that storage.

    Django fixes a field's storage when models are imported, so ``override_settings(ENV_NAME=…)`` alone
    changes nothing. After the test, the fields have their own storages again.
    """
    from django.apps import apps
    from django.core.files.storage import storages

    from cf_images.storage import select_storage

    models = apps.get_models(include_auto_created=True)
    fields: list[Any] = [field for model in models for field in model._meta.local_fields]
    fields = [field for field in fields if getattr(field, "_storage_callable", None) is select_storage]
    before = [field.storage for field in fields]

    def choose(alias: str) -> Storage:
        for field in fields:
            field.storage = storages[alias]
        return storages[alias]

    yield choose
    for field, storage in zip(fields, before, strict=True):
        field.storage = storage


@pytest.fixture(autouse=True)
def _cf_images_read_settings_again() -> None:
    """Let each test start with the settings and environment variables of its own."""
    if conf := sys.modules.get("cf_images.conf"):
        conf.clear_cache()


@pytest.fixture(autouse=True)
def _cf_images_real_account_guard(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that sends a request to the real service, unless it has the marker."""
    if request.node.get_closest_marker(MARKER):
        yield
        return
    test_thread, unnoticed = threading.current_thread(), list[str]()

    def fail(host: str) -> None:
        message = (
            f"This test sends a request to {host}, that is, to a real Cloudflare account. Use the fixture "
            f"cf_images_settings for the emulator, or mark the test with @pytest.mark.{MARKER}."
        )
        if threading.current_thread() is not test_thread:
            unnoticed.append(message)  # an exception there ends the thread, and not the test
        pytest.fail(message)

    with guard.refuse_hosts(_REAL_HOSTS, fail):
        yield
    if unnoticed:
        pytest.fail(unnoticed[0])


def _declared() -> dict[str, Any]:
    """Return the project's variants for an emulator: named ones, and whether flexible ones are on."""
    try:
        from django.conf import settings
    except ImportError:
        return {}
    if not settings.configured:
        return {}
    from cf_images import conf
    from cf_images.variants.named import read_variants

    declared = read_variants(conf.setting("VARIANTS"))
    return {
        "variants": {
            name: variant.options | {"never_require_signed_urls": variant.never_require_signed_urls}
            for name, variant in declared.items()
        },
        "flexible_variants": conf.setting("FLEXIBLE_VARIANTS") is not False,
    }
