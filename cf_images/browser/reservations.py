"""Reserve an upload, verify what arrived, give it its name, or discard it.

Rows change by conditional updates, and no row is locked across a request: what a form finds out or refuses is
written once the transaction around it is over.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import IO, Any

from django.core.exceptions import ImproperlyConfigured
from django.core.files.base import File
from django.core.files.storage import Storage
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from cf_images import conf, images
from cf_images.accounts import AccountStorage
from cf_images.background import timing
from cf_images.background.queue_notifier import notify
from cf_images.background.rows import database, reservations
from cf_images.browser import limits, rollbacks, signed_values, targets, waiting_files
from cf_images.browser.problems import UploadProblem
from cf_images.browser.signed_values import SignedValue
from cf_images.browser.targets import Target
from cf_images.exceptions import (
    CloudflareImagesError,
    ImageNotFoundError,
    ImageRejectedError,
    RateLimitedError,
)
from cf_images.images import metadata, names
from cf_images.models import Reservation, State
from cf_images.sentences import Sentence
from cf_images.storage import LocalImagesStorage, file_names
from cf_images.translation import rejection

logger = logging.getLogger("cf_images.browser")

HEAD_BYTES = 64 * 1024  # what tells format and dimensions
_MAX_HEAD_BYTES = 1024 * 1024  # some JPEG files begin with more metadata
_ASK_AGAIN = timedelta(seconds=1)
# Characters: with any extension it fits into Django's usual max_length of 100; and into a value, where one
# may take twelve bytes as JSON.
_MAX_FILENAME = 90
_LARGEST = 10**12  # bytes in a message; a browser may say anything


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """An upload that has arrived and is an image: its row, and the first bytes."""

    row: Reservation
    info: images.ImageInfo
    head: bytes


# Reserving


@sensitive_variables("upload_url")  # a report of an error of the database would have it
def reserve(target: Target, *, owner: str, filename: str, size: int) -> tuple[Reservation, str]:
    """Return a new row and the URL to which the browser posts the file; empty for local files.

    One request to Cloudflare, after the limits. Raise ``UploadProblem``.
    """
    if size > images.MAX_BYTES:
        raise UploadProblem(_over_limit(size), 413)
    storage = target.storage
    limits.check(owner, account=storage.account.key if isinstance(storage, AccountStorage) else "")
    now = timezone.now()
    row = Reservation(
        key=secrets.token_urlsafe(24),
        owner=owner,
        field=target.label[:255],
        storage=target.alias,
        filename=_clean_filename(filename),
        token=secrets.token_hex(8),
        created_at=now,
        expires_at=now + timedelta(seconds=conf.setting("DIRECT_UPLOADS_EXPIRE")),
    )
    row.next_attempt_at = row.expires_at + timing.BROWSER_UPLOAD_ARRIVES
    if isinstance(storage, AccountStorage):
        upload_url = _reserve_at_cloudflare(row, storage)
    else:
        row.remote_id, upload_url = waiting_files.new_name(), ""
    row.save(using=database(), force_insert=True)
    return row, upload_url


def _reserve_at_cloudflare(row: Reservation, storage: AccountStorage) -> str:
    options = storage.options
    try:
        facts = metadata.build(None, "", options.metadata, site=options.site, token=row.token)
        with _in_words():
            reserved = storage.account.client().create_direct_upload(
                metadata=facts,
                require_signed_urls=options.require_signed_urls,
                creator=options.creator,
                expires_at=row.expires_at,
            )
    except (
        ImageRejectedError
    ) as error:  # for a clock that is wrong, or too much metadata: no fault of a visitor
        logger.error("No upload can be reserved: %s", error)
        raise _unavailable() from None
    row.account, row.remote_id = storage.account.key, reserved.id
    row.require_signed_urls = options.require_signed_urls
    return reserved.upload_url


def _clean_filename(filename: str) -> str:
    last = os.path.basename(filename.replace("\\", "/"))
    return "".join(character for character in last if character.isprintable())[-_MAX_FILENAME:] or "image"


def _over_limit(size: int) -> str:
    try:
        images.check_limits(images.ImageInfo(format="jpeg", size=min(size, _LARGEST), width=1, height=1))
    except ImageRejectedError as error:
        return rejection(error)
    return ""


# Finding


def find(value: SignedValue | None, *, owner: str | None) -> Reservation:
    """Return the row that a value names, if it is this owner's; ``UploadProblem`` (403) for any other."""
    row = None
    if value is not None and owner is not None:
        row = reservations().filter(key=value.key, owner=owner).first()
    if (
        row is None
        or value is None
        or not value.is_for(owner=row.owner, field=row.field, storage=row.storage)
    ):
        raise UploadProblem(
            _("This upload is not known here. Please choose the file again."), 403, is_final=True
        )
    return row


def is_open(row: Reservation) -> bool:
    """Return whether the upload can still be saved."""
    return row.state == State.PENDING and row.expires_at > timezone.now()


def has_arrived(row: Reservation) -> bool:
    """Return whether the file is there, as Cloudflare says; it is asked at most once a second."""
    if row.uploaded_at is None and is_open(row) and _may_ask(row) and _ask(row):
        reservations().filter(pk=row.pk, uploaded_at=None).update(uploaded_at=row.uploaded_at)
    return row.uploaded_at is not None


def _may_ask(row: Reservation) -> bool:
    now = timezone.now()
    if row.asked_at is not None and abs(now - row.asked_at) < _ASK_AGAIN:
        return False
    mine = reservations().filter(pk=row.pk, asked_at=row.asked_at)
    return bool(mine.update(asked_at=now))


def _ask(row: Reservation) -> bool:
    """Return whether the file is there; then ``row`` says so, too."""
    storage = _storage(row)
    if isinstance(storage, LocalImagesStorage):
        is_there = waiting_files.exists(storage, row.remote_id)
    elif isinstance(storage, AccountStorage):
        is_there = _is_at_cloudflare(row, storage)
    else:
        is_there = False
    if is_there:
        row.uploaded_at = timezone.now()
    return is_there


def _is_at_cloudflare(row: Reservation, storage: AccountStorage) -> bool:
    with _in_words():
        try:
            image = storage.account.client().details(row.remote_id)
        except ImageNotFoundError:
            return False
    if image.draft:
        return False
    if metadata.token_of(image.metadata) != row.token:
        logger.error("Cloudflare has another image with the ID %s of %s.", row.remote_id, row)
        raise UploadProblem(_("This upload is not known here. Please choose the file again."), 403)
    return True


def _storage(row: Reservation) -> object:
    try:
        return targets.Target(label=row.field, alias=row.storage).storage
    except ImproperlyConfigured:
        return None


# Verifying


def verify(value: str, target: Target, *, owner: str | None) -> Verified:
    """Return what arrived for a value, if it is this owner's and meant for this field; consume nothing.

    At most two requests: what Cloudflare says of it, and the head of the original. Raise ``UploadProblem``.
    """
    signed = signed_values.read(value)
    if signed and owner and not signed.is_for(owner=owner, field=target.label, storage=target.alias):
        signed = None
    row = find(signed, owner=owner)
    _check_open(row)
    if row.uploaded_at is None and not _ask(row):
        raise UploadProblem(_("“%(name)s” has not been uploaded completely.") % {"name": row.filename}, 409)
    head, info = _read(row)
    if info.format not in target.formats:
        problem = _("This kind of image is not accepted here: %(kind)s.") % {"kind": info.format.upper()}
        raise UploadProblem(problem, 415, is_final=True)
    return Verified(row=row, info=info, head=head)


def _check_open(row: Reservation) -> None:
    if row.state == State.STORED:
        problem = _("“%(name)s” has been saved already.") % {"name": row.filename}
        raise UploadProblem(problem, 409, is_final=True)
    if not is_open(row):
        problem = _("The upload of “%(name)s” has expired. Please choose the file again.")
        raise UploadProblem(problem % {"name": row.filename}, 410, is_final=True)


def _read(row: Reservation) -> tuple[bytes, images.ImageInfo]:
    """Return the first bytes and what they say; of an image that was verified before, without a request."""
    if row.format and row.size is not None:
        return b"", images.ImageInfo(format=row.format, size=row.size, width=row.width, height=row.height)
    try:
        with _in_words(), closing(opened(row)) as file:
            info = images.inspect(file)
            images.check_limits(info)
            file.seek(0)
            head = file.read(HEAD_BYTES)
            while _lacks_header(head, info) and (more := file.read(len(head))):
                head += more
    except ImageRejectedError as error:
        raise UploadProblem(rejection(error), is_final=True) from None
    except FileNotFoundError:
        raise UploadProblem(_("“%(name)s” is not there any more.") % {"name": row.filename}, 410) from None
    row.format, row.size, row.width, row.height = info.format, info.size, info.width, info.height
    facts = {"format": row.format, "size": row.size, "width": row.width, "height": row.height}
    _write_after_commit(row, uploaded_at=row.uploaded_at, **facts)
    return head, info


def _lacks_header(head: bytes, info: images.ImageInfo) -> bool:
    is_short = info.format == "jpeg" and len(head) < min(info.size, _MAX_HEAD_BYTES)
    return is_short and images.inspect_head(head, info.size) is None


def _write_after_commit(row: Reservation, **facts: Any) -> None:
    """Keep what was found out for a form that is sent again: no more than that, so after the commit."""

    def write() -> None:
        reservations().filter(pk=row.pk).update(**facts)

    transaction.on_commit(write, using=database(), robust=True)


def opened(row: Reservation) -> IO[bytes]:
    """Return the original as a file that is downloaded as far as it is read."""
    storage = _storage(row)
    if isinstance(storage, LocalImagesStorage):
        return waiting_files.opened(storage, row.remote_id)
    if not isinstance(storage, AccountStorage):
        raise ImageNotFoundError(f"STORAGES[{row.storage!r}] does not have {row}.")
    from cf_images.client.seekable import seekable  # httpx, only for a request

    return seekable(storage.account.client().download(row.remote_id))


# Saving


def save(verified: Verified, storage: Storage, name: str, *, max_length: int | None) -> str | None:
    """Give the upload a name in ``storage``, once: the second time is an ``ImageRejectedError``.

    ``None`` where its bytes are elsewhere. In the caller's transaction: if that fails, the upload is open
    again.
    """
    row = verified.row
    if not targets.is_same_place(row.storage, storage):
        return None
    if isinstance(storage, LocalImagesStorage):
        return _save_local(verified, storage, name, max_length=max_length)
    if row.require_signed_urls:
        stem = file_names.with_room_for_id(name, max_length=max_length)
        with_id = names.with_remote_id
    else:
        stem = file_names.with_room_for_direct_id(name, max_length=max_length)
        with_id = names.with_direct_id
    saved = with_id(names.with_extension(stem, verified.info.extension), row.remote_id)
    _close(row, saved)
    rollbacks.note(row, saved, save_again=_close_again)
    return saved


def _save_local(verified: Verified, storage: LocalImagesStorage, name: str, *, max_length: int | None) -> str:
    row = verified.row
    with transaction.atomic(using=database()):
        _close(row, "")
        with waiting_files.opened(storage, row.remote_id) as file:
            saved: str = storage.save(name, File(file, name=name), max_length=max_length)
        reservations().filter(pk=row.pk).update(name=saved)

        def delete() -> None:  # no partial: Django cannot log one that fails
            storage.delete(row.remote_id)

        transaction.on_commit(delete, using=database(), robust=True)
    return saved


def _close(row: Reservation, name: str) -> None:
    now = timezone.now()
    mine = reservations().filter(pk=row.pk, owner=row.owner, state=State.PENDING, expires_at__gt=now)
    # Without a lease: a worker that has taken the row for expired writes nothing any more.
    if not mine.update(state=State.STORED, name=name, stored_at=now, lease="", next_attempt_at=None):
        raise ImageRejectedError.saying(
            Sentence(
                "The upload of “%(name)s” has been saved already, or has expired. Choose the file again.",
                {"name": row.filename},
            )
        )


def _close_again(row: Reservation, name: str) -> None:
    """Save an upload that a field has by name; nothing is left to do where no rollback has opened it."""
    if not reservations().filter(pk=row.pk, state=State.STORED, name=name).exists():
        _close(row, name)


# Discarding


def discard(row: Reservation) -> None:
    """Let a worker delete an upload that was not saved."""
    using = database()
    with transaction.atomic(using=using):
        mine = reservations().filter(pk=row.pk, state=State.PENDING)
        now = timezone.now()
        if mine.update(state=State.DELETING, lease="", next_attempt_at=now):
            transaction.on_commit(partial(notify, None), using=using, robust=True)


def discard_after_commit(value: str, *, owner: str | None) -> None:
    """Discard the upload that a value names, if it is this owner's, when the caller's transaction is over."""

    def discard_value() -> None:
        try:
            discard(find(signed_values.read(value), owner=owner))
        except UploadProblem:
            pass

    transaction.on_commit(discard_value, using=database(), robust=True)


# Words


@contextmanager
def _in_words() -> Iterator[None]:
    """Turn a failure of Cloudflare into an ``UploadProblem``; what it says about an image passes."""
    try:
        yield
    except (ImageRejectedError, ImageNotFoundError):
        raise
    except CloudflareImagesError as error:
        logger.warning("An upload from a browser failed: %s", error)
        failure = error
    else:
        return
    if isinstance(failure, RateLimitedError):
        raise _unavailable(429, retry_after=int(failure.retry_after or 10))
    raise _unavailable()  # the client has tried again already: pages send the file with the form now


def _unavailable(status: int = 503, *, retry_after: int = 60) -> UploadProblem:
    text = _("Images cannot be uploaded at the moment. Please try again in a minute.")
    return UploadProblem(text, status, retry_after=retry_after)
