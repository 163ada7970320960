"""Take an image, or the wish to delete one, into the table: in the caller's transaction or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import IO, Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from cf_images import naming
from cf_images.background import pieces, timing
from cf_images.background.bell import ring
from cf_images.background.database import database, uploads
from cf_images.background.undelivered import remember
from cf_images.exceptions import ImageExistsError, InvalidNameError
from cf_images.images import ImageInfo
from cf_images.metadata import token_of, with_token
from cf_images.models import MAX_NAME_LENGTH, State, Upload


def stage(
    *,
    name: str,
    alias: str,
    file: IO[bytes],
    info: ImageInfo,
    filename: str,
    metadata: Mapping[str, Any],
    creator: str | None,
    require_signed_urls: bool,
) -> None:
    """Keep ``file`` under ``name`` until the storage ``alias`` has it; the worker is told after the commit.

    Raises ``ImageRejectedError`` for what could never be delivered.
    """
    upload = _row(
        name=name, alias=alias, metadata=metadata, creator=creator, require_signed_urls=require_signed_urls
    )
    upload.filename, upload.content_type = filename[:255], info.content_type
    upload.size, upload.width, upload.height = info.size, info.width, info.height
    with _inserted(upload):
        upload.sha256 = pieces.write(upload, file)
        upload.save(using=database(), update_fields=["sha256"])


def stage_url(
    *,
    name: str,
    alias: str,
    url: str,
    metadata: Mapping[str, Any],
    creator: str | None,
    require_signed_urls: bool,
) -> None:
    """The same for an image that is still somewhere else; nobody fetches it before the commit."""
    upload = _row(
        name=name, alias=alias, metadata=metadata, creator=creator, require_signed_urls=require_signed_urls
    )
    upload.source_url = url
    with _inserted(upload):
        pass


def discard(name: str, alias: str) -> None:
    """Delete the image, wherever it is by now: at once for us, at Cloudflare after the commit.

    Idempotent. A worker that is uploading it keeps its lease; the deletion follows when that is over.
    """
    using = database()
    with transaction.atomic(using=using):
        doomed, _ = uploads().get_or_create(
            name=name,
            defaults={
                "storage": alias,
                "remote_id": naming.image_id(name),
                "state": State.DOOMED,
                "created_at": timezone.now(),
                "next_attempt_at": _at_once(),
            },
        )
        uploads().filter(pk=doomed.pk).exclude(state=State.DOOMED).update(
            state=State.DOOMED, next_attempt_at=_at_once(), last_code=None, last_error=""
        )
        transaction.on_commit(partial(ring, doomed.pk), using=using, robust=True)


def _row(
    *, name: str, alias: str, metadata: Mapping[str, Any], creator: str | None, require_signed_urls: bool
) -> Upload:
    if len(name) > MAX_NAME_LENGTH:
        raise InvalidNameError(
            f"The name has {len(name):,} characters; in the background {MAX_NAME_LENGTH} are possible: "
            f"lower the field's max_length."
        )
    marked = with_token(metadata, name=name if require_signed_urls else "")
    return Upload(
        name=name,
        storage=alias,
        remote_id="" if require_signed_urls else name,  # Cloudflare chooses the ID of a private image
        require_signed_urls=require_signed_urls,
        creator=creator or "",
        metadata=marked,
        token=token_of(marked),
        created_at=timezone.now(),
        next_attempt_at=_at_once(),
    )


def _at_once() -> datetime:
    return timezone.now() - timing.CLOCK_SKEW


@contextmanager
def _inserted(upload: Upload) -> Iterator[None]:
    """The row inserted, whatever follows with it or not at all, and the bell after the commit."""
    using = database()
    with transaction.atomic(using=using):
        try:
            with transaction.atomic(using=using):
                upload.save(using=using, force_insert=True)
        except IntegrityError:
            if not uploads().filter(name=upload.name).exists():
                raise
            raise ImageExistsError(
                f"There is, or was a moment ago, another image named {upload.name!r}."
            ) from None
        yield
        transaction.on_commit(partial(ring, upload.pk), using=using, robust=True)
    remember(upload.name)
