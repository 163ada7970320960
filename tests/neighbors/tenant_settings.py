"""A project with django-tenants; the environment says where the database, the emulator and the tables are."""

from __future__ import annotations

import json
import os
from typing import Any

_GIVEN: dict[str, Any] = json.loads(os.environ["TENANT_SETTINGS"])

SECRET_KEY = "only-for-tests"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {"default": {**_GIVEN["database"], "ENGINE": "django_tenants.postgresql_backend"}}
DATABASE_ROUTERS = ["django_tenants.routers.TenantSyncRouter"]
SHARED_APPS = ["django_tenants", "django.contrib.contenttypes", "tests.neighbors.clients", *_GIVEN["shared"]]
TENANT_APPS = ["tests.neighbors.shop", *_GIVEN["tenant"]]
INSTALLED_APPS = list(dict.fromkeys([*SHARED_APPS, *TENANT_APPS]))
TENANT_MODEL, TENANT_DOMAIN_MODEL = "clients.Client", "clients.Domain"
ROOT_URLCONF = "tests.neighbors.tenant_urls"
ENV_NAME = "test"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    "cloudflare_images": {
        "BACKEND": "cf_images.storage.CloudflareImagesStorage",
        "OPTIONS": {"background": True},
    },
}
SILENCED_SYSTEM_CHECKS = ["cf_images.E011"]  # an emulator
CF_IMAGES = {"QUEUE": "none", **_GIVEN["cf_images"]}
