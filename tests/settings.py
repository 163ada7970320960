"""The smallest project that uses everything; single tests change what they are about."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

BASE_DIR = Path(tempfile.mkdtemp(prefix="cf-images-tests-"))

SECRET_KEY = "only-for-tests"
DEBUG = False
USE_TZ = True
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "tests.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "db.sqlite3"}}
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "django_cleanup.apps.CleanupSelectedConfig",
    "easy_thumbnails",
    "huey.contrib.djhuey",
    "imagekit",
    "rest_framework",
    "sorl.thumbnail",
    "cf_images",
    "tests.app",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "cf_images.middleware.DirectUploadsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
STATIC_URL = "static/"
MEDIA_URL = "/media/"
MEDIA_ROOT = BASE_DIR / "media"
HUEY = {"huey_class": "huey.MemoryHuey", "immediate": True}
ENV_NAME = "test"
STORAGES: dict[str, dict[str, Any]] = {
    "default": {"BACKEND": "cf_images.storage.LocalImagesStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    "cloudflare_images": {"BACKEND": "cf_images.storage.CloudflareImagesStorage"},
    # Where thumbnail apps keep their renditions, which they look up by names of their own.
    "renditions": {
        "BACKEND": "cf_images.storage.CloudflareImagesStorage",
        "OPTIONS": {"unique_names": False},
    },
    "renditions_elsewhere": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
}
THUMBNAIL_DEFAULT_STORAGE_ALIAS = THUMBNAIL_STORAGE = IMAGEKIT_DEFAULT_FILE_STORAGE = "renditions_elsewhere"
IMAGEFIELD_BIN_DEPTH = 2  # django-imagefield deprecates its default
CF_IMAGES = {"VARIANTS": {"avatar": {"width": 240, "height": 240, "fit": "cover"}}}
CF_ACCT_ID = "test-account"
CF_IMG_TOKEN = "test-token"
CF_IMG_HASH = "test-hash"
