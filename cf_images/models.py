"""The rows behind background uploads: the uploads, the bytes of pending ones, and the circuit breaker.

The row is the source of truth about an upload. How rows change is described in ``background``.
"""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

MAX_NAME_LENGTH = 255  # what every database can keep unique
MAX_ERROR_LENGTH = 200


class State(models.TextChoices):
    """The state of an upload."""

    PENDING = "pending", _("pending")  # the bytes are here, Cloudflare has not confirmed it
    STORED = "stored", _("stored")  # Cloudflare has confirmed it; no bytes here
    REJECTED = "rejected", _("rejected")  # Cloudflare will never accept it; the bytes are still here
    DELETING = "deleting", _("deleting")  # deleted here, not yet at Cloudflare


UNCONFIRMED = (State.PENDING, State.REJECTED)  # this site serves the image
TO_PROCESS = (State.PENDING, State.DELETING)  # a worker has something to do


class Upload(models.Model):
    """One image between ``save()`` and Cloudflare; ``name`` is what the field stores."""

    name = models.CharField(max_length=MAX_NAME_LENGTH, unique=True)
    storage = models.CharField(max_length=100)  # the alias in STORAGES
    remote_id = models.CharField(max_length=MAX_NAME_LENGTH, blank=True)  # Cloudflare's image ID
    require_signed_urls = models.BooleanField(default=False)
    creator = models.CharField(max_length=1024, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    token = models.CharField(max_length=32)  # in the metadata; it identifies this upload at Cloudflare

    source_url = models.TextField(blank=True)  # empty: the bytes are in Chunk
    filename = models.CharField(max_length=255, blank=True)
    content_type = models.CharField(max_length=50, blank=True)
    size = models.PositiveBigIntegerField(null=True, blank=True)  # bytes
    width = models.PositiveIntegerField(null=True, blank=True)  # pixels, before any orientation
    height = models.PositiveIntegerField(null=True, blank=True)
    sha256 = models.CharField(max_length=64, blank=True)

    upload_url = models.TextField(blank=True)  # reserved for a private image; whoever has it may upload
    upload_url_expires_at = models.DateTimeField(null=True, blank=True)

    state = models.CharField(max_length=10, choices=State, default=State.PENDING)
    attempts = models.PositiveIntegerField(default=0)  # claims so far
    unknown_errors = models.PositiveIntegerField(default=0)  # of kinds that are not known to be final
    next_attempt_at = models.DateTimeField()
    lease = models.CharField(max_length=32, blank=True)  # of the worker that has claimed it
    leased_until = models.DateTimeField(null=True, blank=True)
    missing_at = models.DateTimeField(
        null=True, blank=True
    )  # Cloudflare first responded to a DELETE with 404
    last_code = models.PositiveIntegerField(null=True, blank=True)  # Cloudflare's, or the HTTP status
    last_error = models.CharField(max_length=MAX_ERROR_LENGTH, blank=True)
    created_at = models.DateTimeField()
    stored_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        app_label = "cf_images"  # importable where the app is not installed
        permissions = [
            ("retry_upload", "Can retry rejected uploads"),
            ("delete_image", "Can delete images here and at Cloudflare"),
        ]
        indexes = [models.Index(fields=["state", "next_attempt_at"], name="cf_images_upload_due")]

    def __str__(self) -> str:
        return self.name


class Chunk(models.Model):
    """A part of an upload's bytes; in one part, ten megabytes cost the database drivers 30 to 80 MB of
    memory.
    """

    upload = models.ForeignKey(Upload, on_delete=models.CASCADE, related_name="chunks")
    position = models.PositiveIntegerField()  # 0, 1, 2 …
    data = models.BinaryField()

    class Meta:
        app_label = "cf_images"
        constraints = [
            models.UniqueConstraint(fields=["upload", "position"], name="cf_images_chunk_position"),
        ]

    def __str__(self) -> str:
        return f"{self.upload_id} [{self.position}]"


class Rendition(models.Model):
    """A variant of a pending image, rendered once for all processes; deleted with the upload's bytes.

    Without ``data``, the variant cannot be rendered, or not quickly enough, and is not tried again.
    """

    upload = models.ForeignKey(Upload, on_delete=models.CASCADE, related_name="renditions")
    key = models.CharField(max_length=32)  # a hash of the options and of the accepted formats
    content_type = models.CharField(max_length=50, blank=True)
    data = models.BinaryField(blank=True)

    class Meta:
        app_label = "cf_images"
        constraints = [
            models.UniqueConstraint(fields=["upload", "key"], name="cf_images_rendition_key"),
        ]

    def __str__(self) -> str:
        return f"{self.upload_id} [{self.key}]"


class CircuitBreaker(models.Model):
    """Whether requests to an account are paused; shared by all workers."""

    account_key = models.CharField(max_length=255, primary_key=True)  # accounts.Account.key
    paused_until = models.DateTimeField(null=True, blank=True)  # then one probe; empty: not paused
    reason = models.CharField(max_length=MAX_ERROR_LENGTH, blank=True)
    failures = models.PositiveIntegerField(default=0)  # unclear responses in a row

    class Meta:
        app_label = "cf_images"

    def __str__(self) -> str:
        return f"{self.account_key}: {self.reason or 'not paused'}"
