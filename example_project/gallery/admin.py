"""The gallery's photographs in the admin."""

from __future__ import annotations

from django.contrib import admin

from cf_images.contrib.admin import ImageAdminMixin
from example_project.gallery.models import Photo, PrivatePhoto


@admin.register(Photo, PrivatePhoto)
class PhotoAdmin(ImageAdminMixin, admin.ModelAdmin):
    """The mixin brings the column, and a thumbnail beside the field of the form."""

    list_display = ["thumbnail", "title", "card"]
    list_display_links = ["thumbnail", "title"]
    thumbnail_variant = "avatar"
