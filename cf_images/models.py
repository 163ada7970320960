"""The rows behind background uploads: the uploads, the bytes of pending ones, and the circuit breaker.

The row is the source of truth about an upload. How rows change is described in ``background``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models
from django.utils.translation import gettext_lazy as _

MAX_NAME_LENGTH = 255  # what every database can keep unique
MAX_ERROR_LENGTH = 200


if TYPE_CHECKING:
    _CharField = models.CharField[str, str]
else:
    _CharField = models.CharField


class ExactCharField(_CharField):
    """A text that is compared byte by byte: an identifier.

    The default collations of MySQL and MariaDB take ``JANE.png`` and ``jané.png`` for ``jane.png``, and
    ignore spaces at the end.
    """

    def db_parameters(self, connection: Any) -> Any:
        """Return Django's parameters, with a binary collation where the default one is not."""
        parameters: dict[str, Any] = {**super().db_parameters(connection)}
        if connection.vendor == "mysql":
            is_mariadb = connection.mysql_is_mariadb
            parameters["collation"] = "utf8mb4_nopad_bin" if is_mariadb else "utf8mb4_0900_bin"
        return parameters


class State(models.TextChoices):
    """The state of an upload."""

    PENDING = "pending", _("pending")  # the bytes are here, Cloudflare has not confirmed it
    STORED = "stored", _("stored")  # Cloudflare has confirmed it; no bytes here
    REJECTED = "rejected", _("rejected")  # Cloudflare will never accept it; the bytes are still here
    DELETING = "deleting", _("deleting")  # deleted here, not yet at Cloudflare


UNCONFIRMED = (State.PENDING, State.REJECTED)  # this site serves the image


class Upload(models.Model):
    """One image between ``save()`` and Cloudflare; ``name`` is what the field stores."""

    name = ExactCharField(max_length=MAX_NAME_LENGTH, unique=True)
    storage = ExactCharField(max_length=100)  # the alias in STORAGES
    account = ExactCharField(max_length=255, blank=True)  # accounts.Account.key; empty: local files
    remote_id = ExactCharField(max_length=MAX_NAME_LENGTH, blank=True)  # Cloudflare's image ID
    require_signed_urls = models.BooleanField(default=False)
    creator = models.CharField(max_length=1024, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    token = ExactCharField(max_length=32)  # in the metadata; it identifies this upload at Cloudflare

    source_url = models.TextField(blank=True)  # empty: the bytes are in Chunk
    filename = models.CharField(max_length=255, blank=True)
    content_type = models.CharField(max_length=50, blank=True)
    size = models.PositiveBigIntegerField(null=True, blank=True)  # bytes
    width = models.PositiveIntegerField(null=True, blank=True)  # pixels, before any orientation
    height = models.PositiveIntegerField(null=True, blank=True)
    sha256 = models.CharField(max_length=64, blank=True)

    state = models.CharField(max_length=10, choices=State, default=State.PENDING)
    attempts = models.PositiveIntegerField(default=0)  # claims so far
    unknown_errors = models.PositiveIntegerField(default=0)  # of kinds that are not known to be final
    # When a worker may claim it; while one has it, when its lease ends; empty: nothing is left to do.
    next_attempt_at = models.DateTimeField(null=True, blank=True)
    lease = ExactCharField(max_length=32, blank=True)  # of the worker that has claimed it
    # Cloudflare first responded with 404 to a DELETE, or of a pending upload to a GET of the reserved ID.
    missing_at = models.DateTimeField(null=True, blank=True)
    # Cloudflare may be fetching source_url since then; without its ID, the image is found by its token.
    fetching_since = models.DateTimeField(null=True, blank=True)
    # Until then a DELETE with this ID may still arrive at Cloudflare. An upload that has it takes the name of
    # an image that was deleted here, and has to delete that one there first.
    deletion_ends_at = models.DateTimeField(null=True, blank=True)
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
        indexes = [
            # For workers.
            models.Index(fields=["account", "next_attempt_at"], name="cf_images_upload_due"),
            # For url() and people.
            models.Index(fields=["state", "created_at"], name="cf_images_upload_state"),
        ]

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
    key = ExactCharField(max_length=32)  # a hash of the options and of the accepted formats
    content_type = models.CharField(max_length=50, blank=True)
    data = models.BinaryField(blank=True)
    claimed_until = models.DateTimeField(null=True, blank=True)  # while a process renders it

    class Meta:
        app_label = "cf_images"
        constraints = [
            models.UniqueConstraint(fields=["upload", "key"], name="cf_images_rendition_key"),
        ]

    def __str__(self) -> str:
        return f"{self.upload_id} [{self.key}]"


class AccountPace(models.Model):
    """The pace of background requests to an account; shared by all workers."""

    account_key = ExactCharField(max_length=255, primary_key=True)  # accounts.Account.key
    next_slot_at = models.DateTimeField(null=True, blank=True)  # when the next request may be sent
    limit = models.FloatField(null=True, blank=True)  # requests a second that were allowed at limited_at
    limited_at = models.DateTimeField(null=True, blank=True)
    # When the last pause ends, and how many in succession came at once after the one before, and after about
    # as many requests.
    resumes_at = models.DateTimeField(null=True, blank=True)
    strikes = models.PositiveIntegerField(default=0)
    # Requests that passed: in all, until the last one that was limited, and between the two before.
    passed = models.BigIntegerField(default=0)
    passed_before = models.BigIntegerField(default=0)
    interval = models.BigIntegerField(null=True, blank=True)
    # How often a request was limited soon after the pace was lowered; and until when that teaches nothing.
    in_vain = models.PositiveIntegerField(default=0)
    ignored_until = models.DateTimeField(null=True, blank=True)
    # What passed: in the last second with requests, and the most of a second, which fades.
    second = models.BigIntegerField(default=0)
    count = models.FloatField(default=0)
    peak = models.FloatField(default=0)

    class Meta:
        app_label = "cf_images"

    def __str__(self) -> str:
        return f"{self.account_key}: {f'{self.limit:g} a second' if self.limit else 'as configured'}"


class QueueState(models.Model):
    """The messages that were sent to the queue and that no worker has received; one row."""

    outstanding = models.PositiveIntegerField(default=0)
    changed_at = models.DateTimeField(null=True, blank=True)
    wake_at = models.DateTimeField(
        null=True, blank=True
    )  # of the message that is scheduled for a later moment

    class Meta:
        app_label = "cf_images"

    def __str__(self) -> str:
        return f"{self.outstanding} outstanding"


class Worker(models.Model):
    """A process that works on uploads, as it was last seen."""

    name = ExactCharField(max_length=200, primary_key=True)  # host and process ID
    threads = models.PositiveIntegerField(default=1)
    seen_at = models.DateTimeField()
    worked_at = models.DateTimeField(null=True, blank=True)  # when it last tried a row, or found none

    class Meta:
        app_label = "cf_images"

    def __str__(self) -> str:
        return self.name


class CircuitBreaker(models.Model):
    """Whether requests to an account are paused; shared by all workers."""

    account_key = ExactCharField(max_length=255, primary_key=True)  # accounts.Account.key
    paused_until = models.DateTimeField(null=True, blank=True)  # then one probe; empty: not paused
    reason = models.CharField(max_length=MAX_ERROR_LENGTH, blank=True)
    failures = models.PositiveIntegerField(default=0)  # unclear responses in a row
    paused_since = models.DateTimeField(null=True, blank=True)  # the beginning of the outage
    logged_since = models.DateTimeField(null=True, blank=True)  # the last outage that a WARNING told of
    token_digest = ExactCharField(max_length=64, blank=True)  # of the token that was refused

    class Meta:
        app_label = "cf_images"

    def __str__(self) -> str:
        return f"{self.account_key}: {self.reason or 'not paused'}"
