"""Uploads and transfers in Django's admin: the pending ones, their problems, and what to do about them."""

from __future__ import annotations

import time
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.defaultfilters import filesizeformat
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.safestring import mark_safe
from django.utils.timesince import timesince, timeuntil
from django.utils.translation import gettext, ngettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from cf_images import background
from cf_images.background import heartbeat, maintenance, reporting
from cf_images.delivery import signing
from cf_images.models import LeasedRow, State, Transfer, Upload
from cf_images.storage.pending_urls import pending_url

_THUMBNAIL_VARIANT = "public"
_THUMBNAIL_SECONDS = 600  # the lifetime of the URL of a private one


class _LeasedRowAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic for mypy only
    """A list of rows that workers work on; read-only except for the actions, since an edited row may lose
    its image.
    """

    ordering = ("-created_at", "-pk")
    show_full_result_count = False

    class Media:
        """The colors of states, and the list on a narrow screen."""

        css = {"all": ["cf_images/uploads_admin.css"]}

    @admin.display(description=pgettext_lazy("of an upload", "state"), ordering="state")
    def state_label(self, row: LeasedRow) -> str:
        """The state, colored."""
        return format_html(
            '<span class="cf-images-state cf-images-state-{}">{}</span>', row.state, row.get_state_display()
        )

    @admin.display(description=_("age"), ordering="-created_at")
    def age(self, row: LeasedRow) -> str:
        """The time since it was accepted."""
        return gettext("%(time)s ago") % {"time": timesince(row.created_at, depth=1)}

    @admin.display(description=_("size"), ordering="size")
    def size_in_words(self, row: LeasedRow) -> str:
        """Bytes and pixels, as far as they are known."""
        parts = [filesizeformat(row.size)] if row.size else []
        if row.width and row.height:
            width, height = number_format(row.width), number_format(row.height)
            parts.append(f"{width}\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}{height}")
        return ", ".join(parts) or _none()

    @admin.display(description=_("problem"))
    def problem(self, row: LeasedRow) -> str:
        """The last error, in Cloudflare's words and with its code, and what happens next."""
        if not row.last_error:
            return _none()
        code = f" ({row.last_code})" if row.last_code else ""
        return format_html(
            '{}{} <span class="cf-images-attempts">{}</span>', row.last_error, code, _attempts(row)
        )

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002  # Django's
        """Return ``False``: rows come from ``save()`` and from commands."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002  # Django's
        """Return ``False``: an edited row may lose its image."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002  # Django's
        """Return ``False``: without its row an image may be lost, or its name used again."""
        return False


@admin.register(Upload)
class UploadAdmin(_LeasedRowAdmin):
    """The list of uploads."""

    list_display = ("thumbnail", "name", "state_label", "age", "size_in_words", "problem", "storage")
    list_display_links = ("name",)
    list_filter = ("state", "storage")
    search_fields = ("name",)
    actions = ("retry", "delete_images")
    fields = (
        *("name", "storage", "state_label", "thumbnail", "problem", "attempts", "next_attempt_at"),
        *("created_at", "stored_at", "size_in_words", "content_type", "require_signed_urls", "remote_id"),
        "creator",
    )

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

    @admin.action(description=_("Try again now"), permissions=["retry"])
    def retry(self, request: HttpRequest, uploads: QuerySet[Upload]) -> None:
        """Requeue rejected uploads; make pending ones due, and end the pause of their accounts."""
        count = background.retry(uploads)
        text = ngettext("%(count)d image is tried again.", "%(count)d images are tried again.", count)
        self.message_user(request, text % {"count": count}, messages.SUCCESS)

    @admin.action(description=_("Delete the image, here and at Cloudflare"), permissions=["delete_image"])
    def delete_images(self, request: HttpRequest, uploads: QuerySet[Upload]) -> None:
        """Delete for good, as the storage's ``delete()``."""
        count = 0
        for upload in uploads:
            background.delete(upload.name, upload.storage)
            count += 1
        text = ngettext("%(count)d image is deleted.", "%(count)d images are deleted.", count)
        self.message_user(request, text % {"count": count}, messages.SUCCESS)

    def has_retry_permission(self, request: HttpRequest) -> bool:
        """``cf_images.retry_upload``."""
        return request.user.has_perm("cf_images.retry_upload")

    def has_delete_image_permission(self, request: HttpRequest) -> bool:
        """``cf_images.delete_image``."""
        return request.user.has_perm("cf_images.delete_image")


@admin.register(Transfer)
class TransferAdmin(_LeasedRowAdmin):
    """The ledger of files that are copied between storages, or deleted in one."""

    list_display = ("state_label", "file", "age", "size_in_words", "problem", "direction")
    list_display_links = ("file",)
    list_filter = ("state", "field")
    search_fields = ("source_name", "name")
    actions = ("retry",)
    fields = (
        *("source_name", "name", "source", "storage", "field", "state_label", "problem", "attempts"),
        *("next_attempt_at", "created_at", "stored_at", "size_in_words", "sha256", "require_signed_urls"),
        *("remote_id", "options", "is_enqueued"),
    )

    @admin.display(description=_("file"), ordering="source_name")
    def file(self, transfer: Transfer) -> str:
        """The name in the source, and that in the target where it is another one."""
        is_renamed = transfer.name and transfer.name != transfer.source_name
        return f"{transfer.source_name} → {transfer.name}" if is_renamed else transfer.source_name

    @admin.display(description=_("storages"), ordering="storage")
    def direction(self, transfer: Transfer) -> str:
        """Where it comes from, and where it goes."""
        return f"{transfer.source} → {transfer.storage}"

    @admin.action(description=_("Try again"), permissions=["retry"])
    def retry(self, request: HttpRequest, transfers: QuerySet[Transfer]) -> None:
        """Requeue rejected transfers for any worker."""
        count = maintenance.retry_transfers(transfers)
        text = ngettext("%(count)d transfer is tried again.", "%(count)d transfers are tried again.", count)
        self.message_user(request, text % {"count": count}, messages.SUCCESS)

    def has_retry_permission(self, request: HttpRequest) -> bool:
        """``cf_images.retry_transfer``."""
        return request.user.has_perm("cf_images.retry_transfer")


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


def _attempts(row: LeasedRow) -> str:
    """Return the number of attempts, and when the next one is."""
    count = row.attempts
    if row.next_attempt_at is None or row.lease:
        return ngettext("%(count)d attempt", "%(count)d attempts", count) % {"count": count}
    if row.next_attempt_at <= timezone.now():
        text = ngettext(
            "%(count)d attempt; the next one is due now", "%(count)d attempts; the next one is due now", count
        )
        return text % {"count": count}
    text = ngettext(
        "%(count)d attempt; the next one in %(time)s", "%(count)d attempts; the next one in %(time)s", count
    )
    return text % {"count": count, "time": timeuntil(row.next_attempt_at, depth=1)}


def _none() -> str:
    return mark_safe('<span class="cf-images-none">–</span>')
