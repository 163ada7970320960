"""The photographs in the admin."""

from __future__ import annotations

from django.contrib import admin

from cf_images.contrib.admin import ImageAdminMixin
from gallery.models import Photo, PrivatePhoto


@admin.register(Photo, PrivatePhoto)
class PhotoAdmin(ImageAdminMixin, admin.ModelAdmin):
    """The mixin adds the column, and a thumbnail beside the form field."""

    list_display = ["thumbnail", "title", "card"]
    list_display_links = ["thumbnail", "title"]
    thumbnail_variant = "avatar"
