"""A site whose files were copied to the emulator, with the ledger of the copies."""

from __future__ import annotations

import hashlib
import io
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.core.files.storage import FileSystemStorage
from django.utils import timezone

from cf_images.accounts import find_account
from cf_images.background.transfers import new_row
from cf_images.images import inspect, names
from cf_images.images.metadata import build
from cf_images.models import State, Transfer
from tests.app.models import Profile
from tests.pictures import picture

ALIAS = "cloudflare_images"
LOCAL = "default"


def body_of(seed: int = 1) -> bytes:
    """The bytes of a picture."""
    return picture(seed=seed)


def copied(
    source_name: str,
    *,
    name: str | None = None,
    body: bytes | None = None,
    source: str = LOCAL,
    field: str = "app.Profile.image",
    state: str = State.STORED,
    **columns: Any,
) -> Transfer:
    """Store an image at the emulator, and what the ledger has of it after ``cf_images import``."""
    body = body or body_of()
    account = find_account(ALIAS)
    assert account is not None
    info = inspect(io.BytesIO(body))
    is_private = account.options.require_signed_urls
    row = new_row(source=source, target=ALIAS, source_name=source_name, name=name or source_name, field=field)
    sent = build(info, "x", {}, site="tests")
    if state == State.STORED:
        image = account.client().upload(
            io.BytesIO(body),
            image_id=None if is_private else row.name,
            metadata=sent,
            require_signed_urls=is_private,
        )
        if is_private:
            row.name = names.with_remote_id(name or source_name, image.id)
        row.remote_id = image.id
        row.stored_at = timezone.now() - timedelta(days=1)
        row.next_attempt_at = None
    row.size, row.sha256 = len(body), hashlib.sha256(body).hexdigest()
    row.width, row.height, row.state = info.width, info.height, state
    for column, value in columns.items():
        setattr(row, column, value)
    row.save()
    return row


def profile(name: str, *, transfer: bool = True, **options: Any) -> Profile:
    """A row of a model with this name, whose file was copied."""
    if transfer:
        copied(name, **options)
    return Profile.objects.create(image=name)


def names_in_rows() -> list[str]:
    """The names that the rows have now."""
    return [str(name) for name in Profile.objects.order_by("pk").values_list("image", flat=True)]


def write_local(folder: Path, name: str, body: bytes) -> None:
    """Put a file into the local storage."""
    storage = FileSystemStorage(location=folder)
    storage.save(name, io.BytesIO(body))
