"""The settings of the benchmarks; the addresses of the emulator come from the environment."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

BASE_DIR = Path(os.environ.get("BENCHMARKS_DIR") or tempfile.gettempdir())

SECRET_KEY = "only-for-benchmarks"
DEBUG = False
USE_TZ = True
ROOT_URLCONF = "benchmarks.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "benchmarks.sqlite3"}}
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "cf_images"]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
ENV_NAME = "benchmarks"
CF_ACCT_ID, CF_IMG_TOKEN, CF_IMG_HASH = "benchmark-account", "benchmark-token", "benchmark-hash"
_ADDRESSES = {
    "api_url": os.environ.get("BENCHMARKS_API_URL"),
    "delivery_url": os.environ.get("BENCHMARKS_DELIVERY_URL"),
}
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    "cloudflare_images": {"BACKEND": "cf_images.storage.CloudflareImagesStorage", "OPTIONS": _ADDRESSES},
    "private": {
        "BACKEND": "cf_images.storage.CloudflareImagesStorage",
        "OPTIONS": {**_ADDRESSES, "require_signed_urls": True, "signing_keys": ["only-for-benchmarks"]},
    },
}
# The same for KalvadTech's package, which the benchmark of addresses puts beside ours.
CLOUDFLARE_IMAGES_ACCOUNT_ID, CLOUDFLARE_IMAGES_API_TOKEN = CF_ACCT_ID, CF_IMG_TOKEN
CLOUDFLARE_IMAGES_ACCOUNT_HASH = CF_IMG_HASH
CF_IMAGES = {"VARIANTS": {"avatar": {"width": 240, "height": 240, "fit": "cover"}}}
