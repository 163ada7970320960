"""The rows behind background uploads: what is on its way, the bytes that wait, and the gate.

A row is the truth about an upload; queue messages only ring. How rows move is told in ``background``.
"""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

MAX_NAME_LENGTH = 255  # what every database can keep unique
MAX_ERROR_LENGTH = 200


class State(models.TextChoices):
    """Where an upload is."""

    PENDING = "pending", _("pending")  # held here, on its way
    STORED = "stored", _("stored")  # Cloudflare has confirmed it; no bytes here
    REJECTED = "rejected", _("rejected")  # refused for good; still held here
    DOOMED = "doomed", _("to be deleted")  # deleted for everybody, not yet at Cloudflare


HELD = (State.PENDING, State.REJECTED)
MOVING = (State.PENDING, State.DOOMED)


class Upload(models.Model):
    """One image between ``save()`` and Cloudflare; ``name`` is what the field stores."""

    name = models.CharField(max_length=MAX_NAME_LENGTH, unique=True)
    storage = models.CharField(max_length=100)  # the alias in STORAGES
    remote_id = models.CharField(max_length=MAX_NAME_LENGTH, blank=True)
    require_signed_urls = models.BooleanField(default=False)
    creator = models.CharField(max_length=1024, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    token = models.CharField(max_length=32)  # in the metadata: by it we know our own image again

    source_url = models.TextField(blank=True)  # empty: the bytes are in Piece
    filename = models.CharField(max_length=255, blank=True)
    content_type = models.CharField(max_length=50, blank=True)
    size = models.PositiveBigIntegerField(null=True, blank=True)  # bytes
    width = models.PositiveIntegerField(null=True, blank=True)  # pixels, before any orientation
    height = models.PositiveIntegerField(null=True, blank=True)
    sha256 = models.CharField(max_length=64, blank=True)

    upload_url = models.TextField(blank=True)  # a private image's reservation; whoever has it may upload
    upload_url_expires_at = models.DateTimeField(null=True, blank=True)

    state = models.CharField(max_length=10, choices=State, default=State.PENDING)
    attempts = models.PositiveIntegerField(default=0)  # claims so far
    refusals = models.PositiveIntegerField(default=0)  # of kinds that nobody knows to be final
    next_attempt_at = models.DateTimeField()
    lease = models.CharField(max_length=32, blank=True)  # of the worker that has claimed it
    leased_until = models.DateTimeField(null=True, blank=True)
    missing_at = models.DateTimeField(null=True, blank=True)  # Cloudflare first answered a DELETE with 404
    last_code = models.PositiveIntegerField(null=True, blank=True)  # Cloudflare's, or the HTTP status
    last_error = models.CharField(max_length=MAX_ERROR_LENGTH, blank=True)
    created_at = models.DateTimeField()
    stored_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        app_label = "cf_images"  # importable where the app is not installed
        permissions = [
            ("retry_upload", "Can retry rejected uploads"),
            ("discard_upload", "Can discard images"),
        ]
        indexes = [models.Index(fields=["state", "next_attempt_at"], name="cf_images_upload_due")]

    def __str__(self) -> str:
        return self.name


class Piece(models.Model):
    """A part of an upload's bytes; whole, ten megabytes cost the database drivers 30 to 80 MB of memory."""

    upload = models.ForeignKey(Upload, on_delete=models.CASCADE, related_name="pieces")
    position = models.PositiveIntegerField()  # 0, 1, 2 …
    data = models.BinaryField()

    class Meta:
        app_label = "cf_images"
        constraints = [
            models.UniqueConstraint(fields=["upload", "position"], name="cf_images_piece_position"),
        ]

    def __str__(self) -> str:
        return f"{self.upload_id} [{self.position}]"


class Gate(models.Model):
    """Whether an account may be asked at the moment; shared by all workers."""

    account_id = models.CharField(max_length=64, primary_key=True)
    closed_until = models.DateTimeField(null=True, blank=True)  # afterwards one probe; empty: open
    reason = models.CharField(max_length=MAX_ERROR_LENGTH, blank=True)
    failures = models.PositiveIntegerField(default=0)  # unclear answers in a row

    class Meta:
        app_label = "cf_images"

    def __str__(self) -> str:
        return f"{self.account_id}: {self.reason or 'open'}"
