"""The settings of the benchmarks. The URLs of the emulator come from the environment."""

from __future__ import annotations

import os

SECRET_KEY = "only-for-benchmarks"
DEBUG = False
USE_TZ = True
ROOT_URLCONF = "benchmarks.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "cf_images"]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
ENV_NAME = "benchmarks"
CF_ACCT_ID, CF_IMG_TOKEN, CF_IMG_HASH = "benchmark-account", "benchmark-token", "benchmark-hash"
_URLS = {
    # Without an emulator, no request may reach the service.
    "api_url": os.environ.get("BENCHMARKS_API_URL", "http://127.0.0.1:1/client/v4"),
    "delivery_url": os.environ.get("BENCHMARKS_DELIVERY_URL"),
}
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    "cloudflare_images": {"BACKEND": "cf_images.storage.CloudflareImagesStorage", "OPTIONS": _URLS},
    "background": {
        "BACKEND": "cf_images.storage.CloudflareImagesStorage",
        "OPTIONS": {**_URLS, "background": True},
    },
    "private": {
        "BACKEND": "cf_images.storage.CloudflareImagesStorage",
        "OPTIONS": {**_URLS, "require_signed_urls": True, "signing_keys": ["only-for-benchmarks"]},
    },
}
# The settings of KalvadTech's package and of the toolkit, for delivery_urls and saving.
CLOUDFLARE_IMAGES_ACCOUNT_ID, CLOUDFLARE_IMAGES_API_TOKEN = CF_ACCT_ID, CF_IMG_TOKEN
CLOUDFLARE_IMAGES_ACCOUNT_HASH = CF_IMG_HASH
CLOUDFLARE_IMAGES = {"ACCOUNT_ID": CF_ACCT_ID, "ACCOUNT_HASH": CF_IMG_HASH, "API_TOKEN": CF_IMG_TOKEN}
CF_IMAGES = {"VARIANTS": {"avatar": {"width": 240, "height": 240, "fit": "cover"}}}
