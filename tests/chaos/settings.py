"""Settings of the site. ``$CF_IMAGES_SITE`` holds its database, queue and storage options as JSON."""

from __future__ import annotations

import json
import os

SITE = json.loads(os.environ["CF_IMAGES_SITE"])

if SITE["database"]["ENGINE"].endswith(".mysql"):
    import pymysql

    pymysql.install_as_MySQLdb()

SECRET_KEY = "only-for-tests"
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1"]
USE_TZ = True
ROOT_URLCONF = "tests.chaos.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {"default": SITE["database"]}
HUEY = SITE["huey"]
HASTE = SITE["haste"]
INSTALLED_APPS = ["huey.contrib.djhuey", "cf_images", "tests.chaos.apps.ChaosConfig"]
ENV_NAME = "chaos"
MEDIA_ROOT = SITE.get("media", "")
_OPTIONS = {"timeout": 60 / HASTE, **SITE["options"]}
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    "cloudflare_images": {
        "BACKEND": "cf_images.storage.CloudflareImagesStorage",
        "OPTIONS": {"background": True, **_OPTIONS},
    },
    "given_names": {
        "BACKEND": "cf_images.storage.CloudflareImagesStorage",
        "OPTIONS": {"background": True, "unique_names": False, **_OPTIONS},
    },
    "direct": {"BACKEND": "cf_images.storage.CloudflareImagesStorage", "OPTIONS": _OPTIONS},
    "private": {
        "BACKEND": "cf_images.storage.CloudflareImagesStorage",
        "OPTIONS": {"require_signed_urls": True, "signing_keys": ["only-for-tests"], **_OPTIONS},
    },
}
SILENCED_SYSTEM_CHECKS = ["cf_images.E011"]  # the API is an emulator
CF_IMAGES = {
    "UPLOAD_URL_SCHEMES": ("http", "https"),
    "UPLOAD_URL_LOCAL_HOSTS": ("127.0.0.1",),
    "API_RATE": SITE["api_rate"],
    "VARIANTS": {"avatar": {"width": 240, "height": 240, "fit": "cover"}},
}
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "loggers": {"cf_images": {"handlers": ["console"], "level": "INFO"}},
}
