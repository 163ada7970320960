"""Uploads in Django's admin: the pending ones, their problems, and two actions."""

from __future__ import annotations

import time
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.defaultfilters import filesizeformat
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import mark_safe
from django.utils.timesince import timesince, timeuntil
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from cf_images import background
from cf_images.background import heartbeat, reporting
from cf_images.delivery import signing
from cf_images.models import State, Upload
from cf_images.storage.pending_urls import pending_url

_THUMBNAIL_VARIANT = "public"
_THUMBNAIL_SECONDS = 600  # the lifetime of the URL of a private one


@admin.register(Upload)
class UploadAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic for mypy only
    """The list of uploads; read-only except for the actions, since an edited row may lose its image."""

    list_display = ("thumbnail", "name", "state_label", "age", "size_in_words", "problem", "storage")
    list_display_links = ("name",)
    list_filter = ("state", "storage")
    search_fields = ("name",)
    ordering = ("-created_at", "-pk")
    actions = ("retry", "delete_images")
    show_full_result_count = False
    fields = (
        *("name", "storage", "state_label", "thumbnail", "problem", "attempts", "next_attempt_at"),
        *("created_at", "stored_at", "size_in_words", "content_type", "require_signed_urls", "remote_id"),
        "creator",
    )

    class Media:
        """The colors of states, and the list on a narrow screen."""

        css = {"all": ["cf_images/uploads_admin.css"]}

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The list, below a notice for each paused account and for workers that are missing."""
        context = {**_notices(), **(extra_context or {})}
        return super().changelist_view(request, extra_context=context)

    @admin.display(description=_("image"))
    def thumbnail(self, upload: Upload) -> str:
        """The image while it is pending; afterwards its URL leads to Cloudflare."""
        private = upload.require_signed_urls
        expires_at = signing.expiry(_THUMBNAIL_SECONDS, now=time.time()) if private else None
        url = pending_url(upload.name, _THUMBNAIL_VARIANT, expires_at=expires_at)
        if url is None or upload.state == State.DELETING:
            return _none()
        return format_html('<img src="{}" alt="" loading="lazy" class="cf-images-thumbnail">', url)

    @admin.display(description=_("state"), ordering="state")
    def state_label(self, upload: Upload) -> str:
        """The state, colored."""
        return format_html(
            '<span class="cf-images-state cf-images-state-{}">{}</span>',
            upload.state,
            upload.get_state_display(),
        )

    @admin.display(description=_("age"), ordering="-created_at")
    def age(self, upload: Upload) -> str:
        """The time since it was accepted."""
        return gettext("%(time)s ago") % {"time": timesince(upload.created_at, depth=1)}

    @admin.display(description=_("size"), ordering="size")
    def size_in_words(self, upload: Upload) -> str:
        """Bytes and pixels, as far as they are known."""
        parts = [filesizeformat(upload.size)] if upload.size else []
        if upload.width and upload.height:
            parts.append(f"{upload.width}\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}{upload.height}")
        return ", ".join(parts) or _none()

    @admin.display(description=_("problem"))
    def problem(self, upload: Upload) -> str:
        """The last error, in Cloudflare's words and with its code, and what happens next."""
        if not upload.last_error:
            return _none()
        code = f" ({upload.last_code})" if upload.last_code else ""
        return format_html(
            '{}{} <span class="cf-images-attempts">{}</span>', upload.last_error, code, _attempts(upload)
        )

    @admin.action(description=_("Try again now"), permissions=["retry"])
    def retry(self, request: HttpRequest, uploads: QuerySet[Upload]) -> None:
        """Requeue rejected uploads; make pending ones due, and end the pause of their accounts."""
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


def _notices() -> dict[str, Any]:
    """Return what the list says about workers and accounts; nothing of it counts rows."""
    paused = reporting.paused_accounts()
    due_at, last_processed_at = reporting.oldest_due_at(), heartbeat.last_seen()
    idle = reporting.idle(due_at, last_processed_at)
    return {
        "paused_accounts": paused,
        "idle_since_due": due_at if idle and idle > reporting.IDLE else None,
        "last_processed_at": last_processed_at,
    }


def _attempts(upload: Upload) -> str:
    """Return the number of attempts, and when the next one is."""
    tried = ngettext("%d attempt", "%d attempts", upload.attempts) % upload.attempts
    if upload.next_attempt_at is None or upload.lease:
        return tried
    if upload.next_attempt_at <= timezone.now():
        return gettext("%(tried)s; the next one is due now") % {"tried": tried}
    time_left = timeuntil(upload.next_attempt_at, depth=1)
    return gettext("%(tried)s; the next one in %(time)s") % {"tried": tried, "time": time_left}


def _none() -> str:
    return mark_safe('<span class="cf-images-none">–</span>')
