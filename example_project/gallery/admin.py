"""The gallery's photographs in the admin."""

from __future__ import annotations

from django.contrib import admin

from example_project.gallery.models import Photo, PrivatePhoto


@admin.register(Photo, PrivatePhoto)
class PhotoAdmin(admin.ModelAdmin):
    """Nothing but the fields."""

    list_display = ["title", "card"]
