"""The admin, with a thumbnail in the change list and in the form."""

from __future__ import annotations

from django.contrib import admin
from django.utils.html import format_html

from cf_images.variants import variant_url
from example_project.profiles.models import Profile


@admin.register(Profile)
class ProfileAdmin(admin.ModelAdmin):
    """Nothing special: the image field uploads as any other."""

    list_display = ["thumbnail", "name", "image"]
    list_display_links = ["thumbnail", "name"]
    fields = ["name", "thumbnail", "image"]
    readonly_fields = ["thumbnail"]
    search_fields = ["name"]

    @admin.display(description="picture", empty_value="–")
    def thumbnail(self, profile: Profile) -> str | None:
        """A square; a declared variant, which is also there while the picture waits for Cloudflare."""
        if not profile.image:
            return None
        address = variant_url(profile.image, "avatar")
        return format_html(
            '<img src="{}" width="64" height="64" alt="{}" style="border-radius: 8px">', address, profile
        )
