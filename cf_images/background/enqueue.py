"""Accept an image, or its deletion, into the table: in the caller's transaction or not at all.

``enqueue_file``, ``enqueue_url`` and ``delete`` are for storages, which choose the name; ``upload_from_url``
and ``upload_from_file`` are for any code of a project.
"""

from __future__ import annotations

import os
import posixpath
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import IO, Any
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured
from django.core.files.base import File
from django.core.files.storage import Storage, storages
from django.db import IntegrityError, transaction
from django.db.models import Case, F, Value, When
from django.db.models.fields.files import FieldFile
from django.db.models.functions import Coalesce
from django.utils import timezone

from cf_images import conf, images
from cf_images.accounts import Account, AccountStorage, Mirror, cloudflare_options, find_account
from cf_images.background import chunks, page_rows, timing
from cf_images.background.destinations import LOCAL
from cf_images.background.fetch import validate_source_url
from cf_images.background.pending import assume_pending, remember
from cf_images.background.queue_notifier import notify
from cf_images.background.rows import database, uploads
from cf_images.background.transfers import enqueue_copy
from cf_images.exceptions import ImageExistsError, InvalidNameError
from cf_images.images import ImageInfo, names
from cf_images.images.metadata import build as build_metadata
from cf_images.images.metadata import token_of
from cf_images.images.reading import from_start
from cf_images.models import MAX_NAME_LENGTH, State, Upload

DEFAULT_MAX_LENGTH = 100  # characters of a name, as Django's ImageField has it by default
_EXTENSIONS = {
    "jpg": "jpg",
    "jpeg": "jpg",
    "png": "png",
    "gif": "gif",
    "webp": "webp",
    "svg": "svg",
    "heic": "heic",
}


def enqueue_file(
    *,
    name: str,
    alias: str,
    file: IO[bytes],
    info: ImageInfo,
    filename: str,
    metadata: Mapping[str, Any],
    creator: str | None,
    require_signed_urls: bool,
    has_unique_name: bool = True,
) -> None:
    """Keep ``file`` under ``name`` until the storage ``alias`` has it; the queue is notified after the
    commit.

    A name that is not unique supersedes the deletion of an image with that name. Raise ``InvalidNameError``
    for a name that is too long, ``ImageExistsError`` for one that is in use.
    """
    upload = _row(
        name=name, alias=alias, metadata=metadata, creator=creator, require_signed_urls=require_signed_urls
    )
    upload.filename, upload.content_type = filename[:255], info.content_type
    upload.size, upload.width, upload.height = info.size, info.width, info.height
    with _inserted(upload, has_unique_name=has_unique_name):
        upload.sha256 = chunks.write(upload, file, using=database())
        upload.save(using=database(), update_fields=["sha256"])


def enqueue_url(
    *,
    name: str,
    alias: str,
    url: str,
    metadata: Mapping[str, Any],
    creator: str | None,
    require_signed_urls: bool,
) -> None:
    """Do the same for an image at a URL, which is not fetched before the commit."""
    upload = _row(
        name=name, alias=alias, metadata=metadata, creator=creator, require_signed_urls=require_signed_urls
    )
    upload.source_url = url
    with _inserted(upload):
        pass


def delete(name: str, alias: str) -> None:
    """Delete the image: here at once, at Cloudflare after the commit. Doing it twice is harmless.

    A worker that is uploading it keeps its lease; the deletion at Cloudflare follows when that is over.
    """
    using = database()
    assume_pending(name)  # the view gives the image again if the transaction is rolled back
    page_rows.forget(name)
    with transaction.atomic(using=using):
        row, _ = uploads().get_or_create(
            name=name,
            defaults={
                "storage": alias,
                "account": _account_key(alias),
                "remote_id": names.image_id(name),
                "state": State.DELETING,
                "created_at": timezone.now(),
                "next_attempt_at": _due_now(),
            },
        )
        due_at = Case(When(lease="", then=Value(_due_now())), default=F("next_attempt_at"))
        uploads().filter(pk=row.pk).exclude(state=State.DELETING).update(
            state=State.DELETING, next_attempt_at=due_at, missing_at=None, last_code=None, last_error=""
        )
        transaction.on_commit(partial(notify, row.pk), using=using, robust=True)


def upload_from_url(
    url: str,
    *,
    upload_to: str = "",
    storage: str | Storage | None = None,
    metadata: Mapping[str, Any] | None = None,
    creator: str | None = None,
    require_signed_urls: bool | None = None,
) -> str:
    """Let Cloudflare fetch the image at ``url`` soon; return the final name, for an ``ImageField``.

    ``upload_to`` takes strftime codes, as a field's does. ``storage`` is an alias or a storage, by default
    that of ``select_storage``, whose options are used for what is not given. Raise ``ValidationError`` for a
    URL that may not be fetched. For a storage of local files the worker fetches the image itself. A storage
    at Cloudflare shows, opens and deletes a pending image only where its option ``background`` is on.
    """
    validate_source_url(url)
    alias, target, mirror = _target(storage)
    options = _Overrides(target, metadata, creator, require_signed_urls)
    name = _name(upload_to, _filename(url), private=options.private)
    with _mirrored(name, mirror):
        enqueue_url(
            name=name,
            alias=alias,
            url=url,
            metadata=options.metadata_of(None, "", name),
            creator=options.creator,
            require_signed_urls=options.private,
        )
    return name


def upload_from_file(
    file: IO[bytes] | File[Any],
    *,
    upload_to: str = "",
    filename: str | None = None,
    storage: str | Storage | None = None,
    metadata: Mapping[str, Any] | None = None,
    creator: str | None = None,
    require_signed_urls: bool | None = None,
) -> str:
    """Upload ``file`` soon; return the final name, for an ``ImageField``. The file is kept in the database.

    Arguments are those of ``upload_from_url``. Raise ``ImageRejectedError`` for a file that Cloudflare would
    not accept, whatever the storage. A storage of local files saves it at once.
    """
    alias, target, mirror = _target(storage)
    filename = os.path.basename(filename or str(getattr(file, "name", None) or "image"))
    at_cloudflare = target if isinstance(target, AccountStorage) else None
    reduce = (at_cloudflare.options if at_cloudflare else cloudflare_options()).fit_limits
    with from_start(file.file if isinstance(file, FieldFile) else file) as start:
        checked, info = images.accept(start, reduce=reduce)
        if at_cloudflare is None:
            name = _path(upload_to, target.get_valid_name(filename))
            return target.save(name, File(checked), max_length=DEFAULT_MAX_LENGTH)
        options = _Overrides(at_cloudflare, metadata, creator, require_signed_urls)
        name = names.with_extension(_name(upload_to, filename, private=options.private), info.extension)
        with _mirrored(name, mirror):
            enqueue_file(
                name=name,
                alias=alias,
                file=checked,
                info=info,
                filename=posixpath.basename(name),
                metadata=options.metadata_of(info, filename, name),
                creator=options.creator,
                require_signed_urls=options.private,
            )
    return name


class _Overrides:
    """The options of a storage, and what a caller gave instead of some."""

    def __init__(
        self,
        storage: Storage,
        metadata: Mapping[str, Any] | None,
        creator: str | None,
        require_signed_urls: bool | None,
    ) -> None:
        account = storage.account if isinstance(storage, AccountStorage) else Account({})
        is_local = not isinstance(storage, AccountStorage)
        options = account.options
        self.site = options.site
        self.metadata = ({} if is_local else options.metadata) if metadata is None else metadata
        self.creator = creator if creator is not None or is_local else options.creator
        private = require_signed_urls
        self.private = bool(private if private is not None or is_local else options.require_signed_urls)

    def metadata_of(self, info: ImageInfo | None, filename: str, name: str) -> dict[str, Any]:
        """The complete metadata of an image."""
        return build_metadata(
            info, filename, self.metadata, site=self.site, name=name if self.private else ""
        )


def _target(given: str | Storage | None) -> tuple[str, Storage, Mirror | None]:
    """Return an alias, by which a worker finds the storage, the storage, and the mirror of which it is the
    primary; a mirror of local files makes its copies itself.
    """
    if given is None:
        given = conf.selected_alias()
    storage = storages[given] if isinstance(given, str) else given
    if isinstance(storage, Mirror) and find_account(storage.primary_alias):
        return storage.primary_alias, storages[storage.primary_alias], storage
    return given if isinstance(given, str) else _alias_of(given), storage, None


def _alias_of(given: Storage) -> str:
    if isinstance(given, AccountStorage) and given.alias:
        return given.alias
    for alias in conf.storage_declarations():
        if storages[alias] is given:
            return alias
    raise ImproperlyConfigured(
        f"{given!r} is not in STORAGES, so that a worker could not find it. Give it an alias there."
    )


@contextmanager
def _mirrored(name: str, mirror: Mirror | None) -> Iterator[None]:
    """Let a worker copy to the secondary, too, what is accepted meanwhile; both or nothing."""
    if mirror is None:
        yield
        return
    with transaction.atomic(using=database()):
        yield
        enqueue_copy(name, mirror.primary_alias, mirror.secondary_alias)


def _filename(url: str) -> str:
    """Return the last part of the path, with an extension if it is that of an image; the bytes are not
    here.
    """
    last = posixpath.basename(unquote(urlsplit(url).path))
    stem, _, ending = last.rpartition(".")
    extension = _EXTENSIONS.get(ending.lower())
    return f"{stem}.{extension}" if extension else (stem or last).replace(".", "-")


def _path(upload_to: str, filename: str) -> str:
    return posixpath.join(time.strftime(upload_to), filename)  # local time, as Django's fields have it


def _name(upload_to: str, filename: str, *, private: bool) -> str:
    path = _path(upload_to, filename)
    return names.unique_name(
        path, seconds=int(time.time()), max_length=DEFAULT_MAX_LENGTH, is_private=private
    )


def _row(
    *, name: str, alias: str, metadata: Mapping[str, Any], creator: str | None, require_signed_urls: bool
) -> Upload:
    if len(name) > MAX_NAME_LENGTH:
        raise InvalidNameError(
            f"The name has {len(name):,} characters; the limit in the background is {MAX_NAME_LENGTH}. "
            f"Lower the field's max_length."
        )
    return Upload(
        name=name,
        storage=alias,
        account=_account_key(alias),
        remote_id="" if require_signed_urls else name,  # Cloudflare chooses the ID of a private image
        require_signed_urls=require_signed_urls,
        creator=creator or "",
        metadata=dict(metadata),
        token=token_of(metadata),
        created_at=timezone.now(),
        next_attempt_at=_due_now(),
    )


def _account_key(alias: str) -> str:
    account = find_account(alias)
    return account.key if account else LOCAL


def _due_now() -> datetime:
    # Due also for a worker whose clock is behind, and after this machine's clock was set back.
    return timezone.now() - timing.MAX_PAUSE


@contextmanager
def _inserted(upload: Upload, *, has_unique_name: bool = True) -> Iterator[None]:
    """Insert the row, with whatever follows or not at all; notify after the commit."""
    using = database()
    page_rows.forget(upload.name)
    with transaction.atomic(using=using):
        if not has_unique_name:  # first of all: MariaDB deadlocks where a failed INSERT comes first
            _supersede_deletion(upload)
        try:
            with transaction.atomic(using=using):
                upload.save(using=using, force_insert=True)
        except IntegrityError:
            other = uploads().filter(name=upload.name).first()
            if other is None:
                raise
            raise ImageExistsError(
                f"There is another image named {upload.name!r} in STORAGES[{other.storage!r}]: delete it "
                f"first, or choose another name."
            ) from None
        yield
        transaction.on_commit(partial(notify, upload.pk), using=using, robust=True)
    remember(upload.name)


def _supersede_deletion(upload: Upload) -> None:
    """Take the name of an image that was deleted here, and perhaps not yet at Cloudflare.

    The new row has a key of its own, so that whoever works on the old one or reads it finds nothing. It is
    not due before the lease of the old one ends: a request to Cloudflare may be under way until then.
    """
    lease, now = secrets.token_hex(16), timezone.now()
    deleting = uploads().filter(name=upload.name, state=State.DELETING, account=upload.account)
    taken = deleting.filter(remote_id=upload.remote_id).update(
        # In this order: MariaDB reads what it has assigned.
        next_attempt_at=Case(
            When(lease="", then=Value(upload.next_attempt_at)), default=F("next_attempt_at")
        ),
        deletion_ends_at=Coalesce("deletion_ends_at", Value(now)),
        lease=lease,
    )
    if taken:
        old = uploads().get(name=upload.name)
        upload.next_attempt_at, upload.deletion_ends_at = old.next_attempt_at, old.deletion_ends_at
        old.delete(using=database())
