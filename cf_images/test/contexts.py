"""Context managers for tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from django.core.files.storage import Storage, storages

from cf_images import conf
from cf_images.accounts import replaced_clients, signing_keys
from cf_images.client import guard
from cf_images.image_fields import file_fields, selects_storage
from cf_images.test.double import InMemoryClient, InMemoryCloudflare
from cf_images.variants.named import read_variants

if TYPE_CHECKING:
    from cf_images.emulator import Emulator


@contextmanager
def emulated(**options: Any) -> Iterator[Emulator]:
    """Start an emulator, and let every storage use it; give the ``Emulator``.

    It has the variants that the project declares; ``options`` are those of ``cf_images.emulator.Emulator``.
    """
    from cf_images.emulator import Emulator  # needs the extra

    with Emulator(**{**declared_variants(), **options}) as emulator, using(emulator):
        yield emulator


@contextmanager
def using(emulator: Emulator) -> Iterator[None]:
    """Let every storage use an emulator that has been started."""
    options = {
        "account_id": emulator.account_id,
        "api_token": emulator.api_token,
        "account_hash": emulator.account_hash,
        "api_url": emulator.api_url,
        "delivery_url": emulator.delivery_url,
    }
    with _account(**options):
        yield


@contextmanager
def in_memory() -> Iterator[InMemoryCloudflare]:
    """Let every storage keep its images in memory, without HTTP and without an extra; give the double."""
    cloudflare = InMemoryCloudflare()
    options = {
        "account_id": "in-memory",
        "api_token": "in-memory",
        "account_hash": "in-memory",
        "api_url": "http://in-memory.invalid/client/v4",
        "delivery_url": "https://imagedelivery.net",
    }
    with _account(**options), replaced_clients(lambda: InMemoryClient(cloudflare)):
        yield cloudflare


@contextmanager
def fields_stored_in(alias: str) -> Iterator[Storage]:
    """Let every field with ``select_storage`` use ``storages[alias]``; give that storage.

    Django fixes a field's storage when models are imported, so ``override_settings(ENV_NAME=…)`` alone
    changes nothing.
    """
    fields = list(filter(selects_storage, file_fields()))
    before = [field.storage for field in fields]
    for field in fields:
        field.storage = storages[alias]
    try:
        yield storages[alias]
    finally:
        for field, storage in zip(fields, before, strict=True):
            field.storage = storage


def real_account() -> AbstractContextManager[None]:
    """Allow requests to the account that the settings have, for a test that is meant for it."""
    return guard.allow_all()


def declared_variants() -> dict[str, Any]:
    """Return the project's variants for an emulator: named ones, and whether flexible ones are on."""
    declared = read_variants(conf.setting("VARIANTS"))
    return {
        "variants": {
            name: variant.options | {"never_require_signed_urls": variant.never_require_signed_urls}
            for name, variant in declared.items()
        },
        "flexible_variants": conf.setting("FLEXIBLE_VARIANTS") is not False,
    }


@contextmanager
def _account(**options: Any) -> Iterator[None]:
    """Give every storage this account; its signing keys are its own."""
    signing_keys.clear_cache()
    try:
        with conf.forced_options(**options, signing_keys=None):
            yield
    finally:
        signing_keys.clear_cache()
