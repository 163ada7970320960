"""pytest fixtures for projects that store images with this package, and a guard for their real account.

Loaded into every test run of an environment that has the package, so nothing is imported before a fixture
is used. The fixtures with ``settings`` need pytest-django.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from django.core.files.storage import Storage

    from cf_images.emulator import Emulator

MARKER = "cf_images_real_account"
_REAL_HOSTS = frozenset({"api.cloudflare.com", "upload.imagedelivery.net", "batch.imagedelivery.net"})


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", f"{MARKER}: this test may send requests to Cloudflare itself")


@pytest.fixture(scope="session")
def cf_images_emulator_server() -> Iterator[Emulator]:
    """The emulator of this session, in memory, with the variants that the project declares.

    Tests ask for ``cf_images_emulator`` or ``cf_images_settings``.
    """
    from cf_images.emulator import Emulator

    with Emulator(**_declared()) as emulator:
        yield emulator


@pytest.fixture
def cf_images_emulator(cf_images_emulator_server: Emulator) -> Iterator[Emulator]:
    """A local Cloudflare Images on a free port, empty at the beginning of each test."""
    from cf_images import keys

    cf_images_emulator_server.reset()
    keys.forget_all()  # the account has new ones now
    yield cf_images_emulator_server
    cf_images_emulator_server.reset()


@pytest.fixture
def cf_images_settings(cf_images_emulator: Emulator, settings: Any) -> Emulator:
    """The emulator, with ``CF_IMAGES`` pointing at it: for every storage without such OPTIONS of its own."""
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
    """``cf_images_storage("default")``: every field with ``select_storage`` keeps its images there now.

    Django fixes a field's storage when models are imported, so ``override_settings(ENV_NAME=…)`` alone
    changes nothing. The fields get their own storages back after the test.
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
def _cf_images_real_account_guard(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test writes to the real account by accident: its hosts have no address here."""
    if request.node.get_closest_marker(MARKER):
        return
    look_up = socket.getaddrinfo

    def guarded(host: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode("ascii", "replace") if isinstance(host, bytes) else host
        if name in _REAL_HOSTS:
            pytest.fail(
                f"This test sends a request to {name}, that is, to a real Cloudflare account. Ask for the "
                f"fixture cf_images_settings to use the emulator, or mark the test with "
                f"@pytest.mark.{MARKER} if it is meant."
            )
        return look_up(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", guarded)


def _declared() -> dict[str, Any]:
    """The variants of the project for an emulator: named ones, and whether there are flexible ones."""
    try:
        from django.conf import settings
    except ImportError:
        return {}
    if not settings.configured:
        return {}
    from cf_images import conf
    from cf_images.declared import read_variants

    declared = read_variants(conf.package("VARIANTS"))
    return {
        "variants": {
            name: variant.options | {"never_require_signed_urls": variant.never_require_signed_urls}
            for name, variant in declared.items()
        },
        "flexible_variants": conf.package("FLEXIBLE_VARIANTS") is not False,
    }
