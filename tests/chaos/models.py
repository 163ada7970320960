"""Rows that refer to files, for the commands that copy them; the tables have no migrations."""

from __future__ import annotations

from django.core.files.storage import Storage, storages
from django.db import models


def _public() -> Storage:
    return storages["direct"]


def _private() -> Storage:
    return storages["private"]


class Photo(models.Model):  # never shown
    """A public image: its name is kept."""

    image = models.ImageField(storage=_public)


class Document(models.Model):  # never shown
    """A private image: Cloudflare chooses its ID, so that its name changes."""

    image = models.ImageField(storage=_private)


class Nothing(models.Model):  # never shown
    """A table without rows."""

    image = models.ImageField(storage=_public)
