"""The settings of the tests, with the packages that bring tables, settings or templates of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.settings import *  # noqa: F403
from tests.settings import BASE_DIR, CF_IMAGES, INSTALLED_APPS, STORAGES

_CLOUDFLARE = "cf_images.storage.CloudflareImagesStorage"
_RENDITIONS = {"unique_names": False, "variant": "original"}

INSTALLED_APPS = [
    *INSTALLED_APPS,
    "dbbackup",
    "filer",
    "pictures",
    "simple_history",
    "versatileimagefield",
    "tests.neighbors.gallery",
]
CF_IMAGES = {
    **CF_IMAGES,
    "VARIANTS": {**CF_IMAGES["VARIANTS"], "original": {"width": 9999, "height": 9999}},
}
STORAGES = {
    **STORAGES,
    "default": {"BACKEND": _CLOUDFLARE, "OPTIONS": {"unique_names": False, "variant": "public"}},
    "renditions": {"BACKEND": _CLOUDFLARE, "OPTIONS": _RENDITIONS},
    "dbbackup": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": str(Path(BASE_DIR) / "backups")},
    },
}
DBBACKUP_CONNECTORS: dict[str, Any] = {}
# filer makes its storages itself, with these OPTIONS and not with those of an alias.
FILER_STORAGES = {
    "public": {
        "main": {"ENGINE": _CLOUDFLARE, "OPTIONS": {}},
        "thumbnails": {"ENGINE": _CLOUDFLARE, "OPTIONS": _RENDITIONS},
    }
}
# Without a queue: since Django 6.0, the default needs one.
PICTURES = {
    "USE_PLACEHOLDERS": False,
    "FILE_TYPES": ["WEBP"],
    "PROCESSOR": "pictures.tasks._process_picture",
}
