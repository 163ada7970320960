"""The rows behind background uploads: the uploads, the bytes of pending ones, and the circuit breaker.

The row is the source of truth about an upload. How rows change is described in ``background``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

MAX_NAME_LENGTH = 255  # what every database can keep unique
MAX_ERROR_LENGTH = 200
TOKEN_DIGEST_LENGTH = 32
ANOTHER_HAS_IT = 5409  # last_code of a rejected row: another image has its ID, or another file its name


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
    """The state of an upload, of a transfer, or of a reservation."""

    # Cloudflare has not confirmed it; the bytes of an upload are here.
    PENDING = "pending", pgettext_lazy("state", "pending")
    # Cloudflare has confirmed it; no bytes here.
    STORED = "stored", pgettext_lazy("state", "stored")
    # It will never be accepted; the bytes of an upload are still here.
    REJECTED = "rejected", pgettext_lazy("state", "rejected")
    # Deleted here, not yet at Cloudflare.
    DELETING = "deleting", pgettext_lazy("state", "deleting")
    # Of a transfer, whose name is never used again.
    DELETED = "deleted", pgettext_lazy("state", "deleted")


UNCONFIRMED = (State.PENDING, State.REJECTED)  # this site serves the image


class LeasedRow(models.Model):
    """What a worker claims, tries and settles; ``background`` describes how."""

    account = ExactCharField(max_length=255, blank=True)  # accounts.Account.key; empty: local files
    remote_id = ExactCharField(_("image ID at Cloudflare"), max_length=MAX_NAME_LENGTH, blank=True)
    require_signed_urls = models.BooleanField(_("requires signed URLs"), default=False)
    token = ExactCharField(max_length=32)  # in the metadata; it identifies this upload at Cloudflare

    size = models.PositiveBigIntegerField(null=True, blank=True)  # bytes
    width = models.PositiveIntegerField(null=True, blank=True)  # pixels, before any orientation
    height = models.PositiveIntegerField(null=True, blank=True)
    sha256 = models.CharField("SHA-256", max_length=64, blank=True)

    state = models.CharField(
        pgettext_lazy("of an upload", "state"), max_length=10, choices=State, default=State.PENDING
    )
    attempts = models.PositiveIntegerField(_("attempts"), default=0)  # claims so far
    unknown_errors = models.PositiveIntegerField(default=0)  # of kinds that are not known to be final
    # When a worker may claim it; while one has it, when its lease ends; empty: nothing is left to do.
    next_attempt_at = models.DateTimeField(_("next attempt at"), null=True, blank=True)
    lease = ExactCharField(max_length=32, blank=True)  # of the worker that has claimed it
    # Cloudflare first responded with 404 to a DELETE, or of a pending upload to a GET of the reserved ID.
    missing_at = models.DateTimeField(null=True, blank=True)
    # Until then a DELETE with this ID may still arrive at Cloudflare. An upload that has it takes the name of
    # an image that was deleted here, and has to delete that one there first.
    deletion_ends_at = models.DateTimeField(null=True, blank=True)
    last_code = models.PositiveIntegerField(null=True, blank=True)  # Cloudflare's, or the HTTP status
    last_error = models.CharField(max_length=MAX_ERROR_LENGTH, blank=True)
    created_at = models.DateTimeField(_("created at"))
    stored_at = models.DateTimeField(_("stored at"), null=True, blank=True)

    class Meta:
        abstract = True


class Upload(LeasedRow):
    """One image between ``save()`` and Cloudflare; ``name`` is what the field stores."""

    name = ExactCharField(_("name"), max_length=MAX_NAME_LENGTH, unique=True)
    storage = ExactCharField(_("storage"), max_length=100)  # the alias in STORAGES
    creator = models.CharField(_("creator"), max_length=1024, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    source_url = models.TextField(blank=True)  # empty: the bytes are in Chunk
    filename = models.CharField(max_length=255, blank=True)
    content_type = models.CharField(_("content type"), max_length=50, blank=True)
    # Cloudflare may be fetching source_url since then; without its ID, the image is found by its token.
    fetching_since = models.DateTimeField(null=True, blank=True)

    class Meta:
        app_label = "cf_images"  # importable where the app is not installed
        verbose_name = _("upload")
        verbose_name_plural = _("uploads")
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
        verbose_name = _("part of an upload")
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
        verbose_name = _("rendition")
        constraints = [
            models.UniqueConstraint(fields=["upload", "key"], name="cf_images_rendition_key"),
        ]

    def __str__(self) -> str:
        return f"{self.upload_id} [{self.key}]"


class Transfer(LeasedRow):
    """A file that is copied from one storage to another, or deleted there.

    The ledger of imports, exports and mirrors: rows stay, so that a second run continues, and a name that
    was used once is never used again. ``source`` and ``storage`` are storages as
    ``background.places`` writes them.
    """

    key = ExactCharField(max_length=64, unique=True)  # SHA-256 of source, storage and source_name
    source = ExactCharField(_("source"), max_length=255)
    source_name = models.TextField(_("name in the source"))  # as rows of a field have it, of any length
    storage = ExactCharField(_("target"), max_length=255)
    # In the target; null until it is known: Cloudflare chooses the IDs of private images.
    # The stubs take a subclass for one that is never null.
    name: models.CharField[str | None, str | None] = ExactCharField(  # type: ignore[assignment,misc]
        _("name in the target"), max_length=MAX_NAME_LENGTH, null=True, blank=True
    )
    # "app.Model.field", the first that has the name
    field = models.CharField(_("field"), max_length=255, blank=True)
    options = models.JSONField(_("options"), default=dict, blank=True)  # background.copying.CopyOptions
    # For any worker; else for the commands alone.
    is_enqueued = models.BooleanField(_("for any worker"), default=False)

    class Meta:
        app_label = "cf_images"
        verbose_name = _("transfer")
        verbose_name_plural = _("transfers")
        permissions = [("retry_transfer", "Can retry rejected transfers")]
        constraints = [
            models.UniqueConstraint(fields=["storage", "name"], name="cf_images_transfer_name"),
        ]
        indexes = [
            # For workers.
            models.Index(fields=["account", "is_enqueued", "next_attempt_at"], name="cf_images_transfer_due"),
            # For people.
            models.Index(fields=["state", "created_at"], name="cf_images_transfer_state"),
        ]

    def __str__(self) -> str:
        return self.source_name


class Reservation(LeasedRow):
    """An upload URL that was given to a browser, until a model's field has the image.

    Pending: open, with or without its bytes. Stored: the field has it, under ``name``. What is never saved is
    deleted after ``expires_at``. ``remote_id`` is Cloudflare's ID, or the name of a waiting local file; no
    browser sends it. ``size``, ``width`` and ``height`` are known once the bytes have been verified.
    """

    key = ExactCharField(max_length=64, unique=True)  # in the value that a form carries
    owner = ExactCharField(max_length=64)  # browser.owners: a digest of the user, or of the session
    field = ExactCharField(max_length=255)  # "app.Model.field", or a form's
    storage = ExactCharField(max_length=100)  # the alias in STORAGES
    filename = models.CharField(max_length=255)
    format = models.CharField(max_length=10, blank=True)  # as verified
    name = ExactCharField(max_length=1024, blank=True)  # in the storage, once it is saved
    expires_at = models.DateTimeField()
    asked_at = models.DateTimeField(null=True, blank=True)  # Cloudflare, whether it has arrived
    uploaded_at = models.DateTimeField(null=True, blank=True)  # when it was first found there

    class Meta:
        app_label = "cf_images"
        verbose_name = _("reservation")
        indexes = [
            # For workers.
            models.Index(fields=["account", "next_attempt_at"], name="cf_images_reservation_due"),
            # For the limits of each owner.
            models.Index(fields=["owner", "created_at"], name="cf_images_reservation_owner"),
        ]

    def __str__(self) -> str:
        return f"the upload {self.filename!r} for {self.field}"


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
        verbose_name = _("pace of an account")

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
        verbose_name = _("state of the queue")

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
        verbose_name = _("worker")

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
    # Of the token that was refused; of two, one behind the other.
    token_digest = ExactCharField(max_length=2 * TOKEN_DIGEST_LENGTH, blank=True)

    class Meta:
        app_label = "cf_images"
        verbose_name = _("circuit breaker")

    def __str__(self) -> str:
        return f"{self.account_key}: {self.reason or 'not paused'}"
