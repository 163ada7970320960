"""A model with an image, in the schema of each tenant."""

from __future__ import annotations

from django.db import models

from cf_images.storage import select_storage


class Product(models.Model):
    """Something with a picture."""

    image = models.ImageField(upload_to="products/", storage=select_storage)
