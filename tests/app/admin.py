"""The admin as a project would write it: nothing special, and a thumbnail by the storage's own URL."""

from __future__ import annotations

from django.contrib import admin
from django.utils.html import format_html

from tests.app.models import Photo, Profile


@admin.register(Photo)
class PhotoAdmin(admin.ModelAdmin):
    """With a thumbnail in the change list."""

    list_display = ("id", "thumbnail")

    def thumbnail(self, photo: Photo) -> str:
        """The picture, as an avatar."""
        return format_html('<img src="{}">', photo.file.storage.url(photo.file.name, variant="avatar"))


admin.site.register(Profile)
