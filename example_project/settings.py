"""Settings of the example; the two blocks about images are what a project of your own needs."""

from __future__ import annotations

import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent
STATE = Path(os.environ.get("EXAMPLE_STATE") or BASE_DIR / "var" / "state")
STATE.mkdir(parents=True, exist_ok=True)

# Images ##########################################################################################

ENV_NAME = os.environ.get("ENV_NAME", "dev")  # "dev" stores on this machine, anything else at Cloudflare
STORAGES = {
    "default": {"BACKEND": "cf_images.storage.LocalImagesStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    "cloudflare_images": {
        "BACKEND": "cf_images.storage.CloudflareImagesStorage",
        "OPTIONS": {"background": True},  # save now, upload from the queue
    },
    "private_images": {
        "BACKEND": "cf_images.storage.CloudflareImagesStorage",
        "OPTIONS": {"background": True, "require_signed_urls": True},  # keys: CF_IMG_SIGNING_KEYS, or fetched
    },
}
CF_IMAGES = {
    "VARIANTS": {
        "avatar": {"width": 240, "height": 240, "fit": "cover"},
        "banner": {"width": 1280, "height": 360, "fit": "cover"},
        "postcard": {"width": 600, "height": 400, "fit": "cover"},
    },
}
EMULATOR = os.environ.get("EXAMPLE_EMULATOR", "")
if EMULATOR:  # stands in for Cloudflare on this machine
    CF_IMAGES |= {"API_URL": f"{EMULATOR}/client/v4", "DELIVERY_URL": EMULATOR}
if EMULATOR or ENV_NAME == "dev":  # so that the example can fetch its own pictures; never on a real site
    CF_IMAGES |= {
        "UPLOAD_URL_SCHEMES": ["https", "http"],
        "UPLOAD_URL_LOCAL_HOSTS": ["127.0.0.1", "localhost"],
    }
MEDIA_URL = "/media/"
MEDIA_ROOT = STATE / "media"

# The queue and the database ######################################################################

HUEY = {"huey_class": "huey.SqliteHuey", "filename": STATE / "huey.sqlite3", "immediate": False}
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": STATE / "db.sqlite3",
        # Site and worker write at the same time: readers do not wait, writers wait their turn.
        "OPTIONS": {
            "init_command": "PRAGMA journal_mode=WAL",
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
        },
    }
}

# What every project has ##########################################################################

DEBUG = True  # the example listens on 127.0.0.1 only
SECRET_KEY = "django-insecure-for-this-example-only"  # noqa: S105 - signs nothing but sessions on 127.0.0.1
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
ROOT_URLCONF = "example_project.urls"
USE_TZ = True
TIME_ZONE = "UTC"
STATIC_URL = "/static/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "huey.contrib.djhuey",
    "cf_images",
    "example_project.profiles",
    "example_project.gallery",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
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
                "example_project.stand.context",
            ]
        },
    }
]
