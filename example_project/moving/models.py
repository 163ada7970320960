"""Pictures in a folder of this machine, which move to Cloudflare and back."""

from __future__ import annotations

from django.core.files.storage import Storage, storages
from django.db import models


def pictures() -> Storage:
    """Return the mirror that keeps the pictures in both places."""
    return storages["moving"]


class Picture(models.Model):
    """A picture; its row has the same name wherever the file is."""

    file = models.ImageField(upload_to="moving/", storage=pictures)

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return str(self.file)
