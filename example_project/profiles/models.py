"""One model with one image."""

from __future__ import annotations

from django.db import models
from django.urls import reverse

from cf_images.storage import select_storage


class Profile(models.Model):
    """A person and a picture."""

    name = models.CharField(max_length=80)
    image = models.ImageField(upload_to="avatars/", storage=select_storage, blank=True)

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        """Return the URL of the profile page."""
        return reverse("profile", args=[self.pk])
