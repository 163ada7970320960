"""People in the admin, with thumbnails in the change list and in the form."""

from __future__ import annotations

from django.contrib import admin

from cf_images.contrib.admin import ImageAdminMixin
from profiles.models import Profile


@admin.register(Profile)
class ProfileAdmin(ImageAdminMixin, admin.ModelAdmin):
    """The image field needs nothing special; the mixin adds thumbnails."""

    list_display = ["thumbnail", "name", "image"]
    list_display_links = ["thumbnail", "name"]
    search_fields = ["name"]
    thumbnail_variant = "avatar"  # a named variant is also shown while the upload is pending
