"""Uploads in Django's admin: the pending ones, their problems, and two actions."""

from __future__ import annotations

import time

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.timesince import timesince
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from cf_images import background
from cf_images.delivery import signing
from cf_images.models import State, Upload
from cf_images.storage.pending_urls import pending_url

_THUMBNAIL_VARIANT = "public"
_THUMBNAIL_SECONDS = 600  # the lifetime of the URL of a private one


@admin.register(Upload)
class UploadAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic for mypy only
    """The list of uploads; read-only except for the actions, since an edited row may lose its image."""

    list_display = ("thumbnail", "name", "state", "age", "attempts", "problem", "storage")
    list_display_links = ("name",)
    list_filter = ("state", "storage")
    search_fields = ("name",)
    ordering = ("-created_at", "-pk")
    actions = ("retry", "delete_images")
    show_full_result_count = False
    fields = (
        *("name", "storage", "state", "thumbnail", "problem", "attempts", "next_attempt_at", "created_at"),
        *(
            "stored_at",
            "size",
            "width",
            "height",
            "content_type",
            "require_signed_urls",
            "remote_id",
            "creator",
        ),
    )

    @admin.display(description=_("image"))
    def thumbnail(self, upload: Upload) -> str:
        """The image while it is pending; afterwards its URL leads to Cloudflare."""
        private = upload.require_signed_urls
        expires_at = signing.expiry(_THUMBNAIL_SECONDS, now=time.time()) if private else None
        url = pending_url(upload.name, _THUMBNAIL_VARIANT, expires_at=expires_at)
        if url is None or upload.state == State.DELETING:
            return "–"
        return format_html('<img src="{}" alt="" loading="lazy" style="max-width:6em;max-height:4em">', url)

    @admin.display(description=_("age"), ordering="created_at")
    def age(self, upload: Upload) -> str:
        """The time since it was accepted."""
        return timesince(upload.created_at, depth=1)

    @admin.display(description=_("problem"))
    def problem(self, upload: Upload) -> str:
        """The last error, in Cloudflare's words and with its code."""
        if not upload.last_error:
            return ""
        return f"{upload.last_error} ({upload.last_code})" if upload.last_code else upload.last_error

    @admin.action(description=_("Try again now"), permissions=["retry"])
    def retry(self, request: HttpRequest, uploads: QuerySet[Upload]) -> None:
        """Requeue rejected uploads; make pending ones due."""
        count = background.retry(uploads)
        text = ngettext("%d image is tried again.", "%d images are tried again.", count)
        self.message_user(request, text % count, messages.SUCCESS)

    @admin.action(description=_("Delete the image, here and at Cloudflare"), permissions=["delete_image"])
    def delete_images(self, request: HttpRequest, uploads: QuerySet[Upload]) -> None:
        """Delete for good, as the storage's ``delete()``."""
        count = 0
        for upload in uploads:
            background.delete(upload.name, upload.storage)
            count += 1
        text = ngettext("%d image is deleted.", "%d images are deleted.", count)
        self.message_user(request, text % count, messages.SUCCESS)

    def has_retry_permission(self, request: HttpRequest) -> bool:
        """``cf_images.retry_upload``."""
        return request.user.has_perm("cf_images.retry_upload")

    def has_delete_image_permission(self, request: HttpRequest) -> bool:
        """``cf_images.delete_image``."""
        return request.user.has_perm("cf_images.delete_image")

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        """Return ``False``: rows come from ``save()``."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Upload | None = None) -> bool:  # noqa: ARG002
        """Return ``False``: an edited row may lose its image."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Upload | None = None) -> bool:  # noqa: ARG002
        """Return ``False``: deleting the row would lose the bytes and keep the image at Cloudflare."""
        return False
