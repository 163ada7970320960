"""The admin, with a thumbnail in the change list and in the form."""

from __future__ import annotations

from django.contrib import admin

from cf_images.contrib.admin import ImageAdminMixin
from example_project.profiles.models import Profile


@admin.register(Profile)
class ProfileAdmin(ImageAdminMixin, admin.ModelAdmin):
    """Nothing special: the image field uploads as any other."""

    list_display = ["thumbnail", "name", "image"]
    list_display_links = ["thumbnail", "name"]
    search_fields = ["name"]
    thumbnail_variant = "avatar"  # declared, so that it is also there while the picture waits
