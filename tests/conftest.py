"""Fixtures for all tests."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.files.storage import storages

pytest_plugins = ["cf_images.pytest_plugin"]


def point_at(settings: Any, emulator: Any, **options: Any) -> None:
    """Let the alias ``cloudflare_images`` speak to ``emulator``, with ``options`` besides."""
    backend = {
        "BACKEND": "cf_images.storage.CloudflareImagesStorage",
        "OPTIONS": {
            "account_id": emulator.account_id,
            "api_token": emulator.api_token,
            "account_hash": emulator.account_hash,
            "api_url": emulator.api_url,
            "delivery_url": emulator.delivery_url,
            **options,
        },
    }
    settings.STORAGES = {**settings.STORAGES, "cloudflare_images": backend}


@pytest.fixture
def cloudflare(cf_images_emulator: Any, settings: Any) -> Any:
    """An empty emulator that ``storages["cloudflare_images"]`` speaks to."""
    point_at(settings, cf_images_emulator)
    return cf_images_emulator


@pytest.fixture
def images(cloudflare: Any) -> Any:
    """The storage ``cloudflare_images``, at the emulator."""
    return storages["cloudflare_images"]
