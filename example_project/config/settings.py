"""Settings of the example project. The first part, about images, is what your own project needs."""

from __future__ import annotations

import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent

# Images ##########################################################################################

ENV_NAME = os.environ.get("ENV_NAME", "dev")  # "dev": images stay on this machine; else: Cloudflare
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
    "DIRECT_UPLOADS": True,  # from the browser straight to where images are kept
    "DIRECT_UPLOADS_ALLOWED": "gallery.forms.may_upload",  # default: whoever is logged in
    "SITE_URL": os.environ.get("SITE_URL", ""),  # where this site is, for pending images in mails and PDFs
}

# Where this example keeps its data, and the emulator that it may use instead of Cloudflare ########

EMULATOR_URL = "" if ENV_NAME == "dev" else os.environ.get("EMULATOR_URL", "")
if EMULATOR_URL:
    CF_IMAGES |= {"API_URL": f"{EMULATOR_URL}/client/v4", "DELIVERY_URL": EMULATOR_URL}
if EMULATOR_URL or ENV_NAME == "dev":  # for uploads by URL from this very site; not for production
    CF_IMAGES |= {
        "UPLOAD_URL_SCHEMES": ["https", "http"],
        "UPLOAD_URL_LOCAL_HOSTS": ["127.0.0.1", "localhost"],
    }
PLACE = "local" if ENV_NAME == "dev" else "emulator" if EMULATOR_URL else "cloudflare"
STATE = Path(os.environ.get("EXAMPLE_STATE") or BASE_DIR / "var" / PLACE)
STATE.mkdir(parents=True, exist_ok=True)
MEDIA_URL = "/media/"
MEDIA_ROOT = STATE / "media"

# The page "Moving": a folder and Cloudflare, in both roles; your project has one mirror and swaps its sides
STORAGES |= {
    "pictures": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": STATE / "pictures", "base_url": "/pictures/"},
    },
    "moving": {
        "BACKEND": "cf_images.storage.MirroredStorage",
        "OPTIONS": {"primary": "pictures", "secondary": "cloudflare_images"},
    },
    "moved": {
        "BACKEND": "cf_images.storage.MirroredStorage",
        "OPTIONS": {"primary": "cloudflare_images", "secondary": "pictures"},
    },
}

# The queue and the database ######################################################################

HUEY = {"huey_class": "huey.SqliteHuey", "filename": STATE / "huey.sqlite3", "immediate": False}
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": STATE / "db.sqlite3",
        # Site and worker write at the same time: readers are not blocked, writers take turns.
        "OPTIONS": {
            "init_command": "PRAGMA journal_mode=WAL",
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
        },
    }
}

# What every project has ##########################################################################

DEBUG = True  # the example listens on 127.0.0.1 only
SECRET_KEY = "django-insecure-for-this-example-only"  # noqa: S105 - signs only sessions on 127.0.0.1
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
ROOT_URLCONF = "config.urls"
TIME_ZONE = "UTC"
STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
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
    "profiles",
    "gallery",
    "moving",
    "demo",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "cf_images.middleware.DirectUploadsMiddleware",  # forms learn by it whose uploads they may take
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "cf_images.middleware.CloudflareImagesErrorMiddleware",  # a page in words when an image fails in a view
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "demo.views.place",
            ]
        },
    }
]
