"""The rows of the ledger: files that are copied from one storage to another, or deleted there."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any

from django.db import IntegrityError, OperationalError, transaction
from django.db.models import Case, F, Q, QuerySet, Value, When
from django.utils import timezone

from cf_images.background import places, timing
from cf_images.background.destinations import LOCAL
from cf_images.background.queue_notifier import notify
from cf_images.background.rows import database, remote_id, transfers
from cf_images.exceptions import ImageExistsError
from cf_images.images import names
from cf_images.models import ANOTHER_HAS_IT, MAX_NAME_LENGTH, State, Transfer

__all__ = [
    "enqueue_copy",
    "enqueue_delete",
    "is_kept",
    "key_of",
    "new_row",
    "transfers",
    "was_used",
]

_ENDED = (State.DELETING, State.DELETED)
_DEADLOCKS = 5  # in which a deletion is tried anew; a transaction of the caller's is lost with the first


def key_of(source: str, target: str, source_name: str) -> str:
    """Return what identifies a transfer: names have any length, and databases compare texts differently."""
    return hashlib.sha256("\0".join((source, target, source_name)).encode(errors="surrogatepass")).hexdigest()


def new_row(
    *,
    source: str,
    target: str,
    source_name: str,
    name: str | None,
    field: str = "",
    options: Mapping[str, Any] | None = None,
    is_enqueued: bool = True,
) -> Transfer:
    """Return a row that is not saved yet; ``source`` and ``target`` are places.

    ``name`` is the name in the target, ``None`` where Cloudflare chooses it: for private images.
    """
    account = places.account_of(target) or places.account_of(source)
    to_account = places.account_of(target)
    is_private = to_account is not None and to_account.options.require_signed_urls
    now = timezone.now()
    return Transfer(
        key=key_of(source, target, source_name),
        source=source,
        source_name=source_name,
        storage=target,
        name=name,
        field=field,
        options=dict(options or {}),
        is_enqueued=is_enqueued,
        account=account.key if account else LOCAL,
        remote_id="" if is_private or to_account is None else name or "",
        require_signed_urls=is_private,
        token=secrets.token_hex(8),
        created_at=now,
        next_attempt_at=now - timing.MAX_PAUSE,
    )


def is_kept(name: str, target: str) -> bool:
    """Return whether a file can have ``name`` in the storage ``target``, too; in a private one no name can,
    and the row has it.
    """
    account = places.account_of(target)
    if account is not None and account.options.require_signed_urls:
        return True
    if len(name) > MAX_NAME_LENGTH:
        return False
    return account is None or not names.id_problem(name)


def enqueue_copy(name: str, source: str, target: str, *, max_length: int | None = None) -> None:
    """Let any worker copy ``name``, in the caller's transaction; the queue is notified after the commit.

    The copy has the same name where ``target`` can keep it. ``max_length`` is that of the field, for the
    names of private images. Raise ``ImageExistsError`` for a name that was copied before, whatever has become
    of it.
    """
    account, using = places.account_of(target), database()
    fits = account is not None and account.options.fit_limits
    row = new_row(
        source=source,
        target=target,
        source_name=name,
        name=_target_name(name, target),
        options={"fit_limits": fits, "max_length": max_length},  # copying.CopyOptions, without httpx
    )
    with transaction.atomic(using=using):
        if not _insert(row):
            raise ImageExistsError(f"A file named {name!r} was copied to STORAGES[{target!r}] before.")
        transaction.on_commit(partial(notify, row.pk), using=using, robust=True)


def enqueue_delete(name: str, source: str, target: str) -> None:
    """Let any worker delete in ``target`` what has ``name`` in ``source``; doing it twice is harmless.

    In the caller's transaction; the queue is notified after the commit. A worker that is copying the file
    keeps its lease; the deletion follows. What no worker has begun to copy is not copied. The row stays, so
    that the name is not used again.
    """
    is_alone = not transaction.get_connection(database()).in_atomic_block
    for attempt in range(1, _DEADLOCKS + 1):
        try:
            _enqueue_delete(name, source, target)
            return
        except OperationalError:  # on MariaDB, insertions of one key at once are a deadlock
            if not is_alone or attempt == _DEADLOCKS:
                raise


def _enqueue_delete(name: str, source: str, target: str) -> None:
    using = database()
    with transaction.atomic(using=using):
        target_name = _delete_backward(name, source, target)
        pks = _pks(Q(key=key_of(source, target, name)) | Q(storage=target, name=name))
        row = None if pks else _deletion(name, source, target, target_name or name)
        if row is not None and not _insert(row):
            # Another transaction was faster; on MariaDB this one cannot even see its row.
            _mark(transfers().filter(key=row.key))
            _mark(transfers().filter(storage=row.storage, name=row.name))
        _mark(transfers().filter(pk__in=pks))
        transaction.on_commit(notify, using=using, robust=True)


def was_used(name: str, *between: str) -> bool:
    """Return whether a file was, or will be, copied under this name from one of two places to the other."""
    one, other = between
    keys = (key_of(one, other, name), key_of(other, one, name))
    return transfers().filter(Q(key__in=keys) | Q(storage__in=between, name=name)).exists()


def _delete_backward(name: str, source: str, target: str) -> str | None:
    """Delete, in ``source``, what a worker has copied there while the two places had changed roles, or is
    copying at the moment; return what the file is called in ``target``.
    """
    copies = Q(key=key_of(target, source, name)) | Q(source=target, storage=source, name=name)
    pks = _pks(copies)
    _mark(transfers().filter(pk__in=pks))
    return transfers().filter(pk__in=pks).values_list("source_name", flat=True).first()


def _pks(chosen: Q) -> list[int]:
    # Rows are changed by their keys: MariaDB would lock all that it reads for an ``OR``.
    return list(transfers().filter(chosen).values_list("pk", flat=True))


def _mark(rows: QuerySet[Transfer]) -> None:
    """Delete what rows have stored, or may have: each in one conditional ``UPDATE``, as workers claim."""
    never_sent = (
        Q(state=State.PENDING, lease="", attempts=0)
        | Q(state=State.REJECTED, name=None, remote_id="")
        | Q(state=State.REJECTED, last_code=ANOTHER_HAS_IT)
    )
    rows.filter(never_sent).update(**_deleted())
    due_at = Case(When(lease="", then=Value(_due_now())), default=F("next_attempt_at"))
    rows.exclude(state__in=_ENDED).update(
        state=State.DELETING,
        next_attempt_at=due_at,
        attempts=F("attempts") + 1,  # the first attempt of a row sends nothing: there is nothing to delete
        is_enqueued=True,
        missing_at=None,
        last_code=None,
        last_error="",
    )


def _deleted() -> dict[str, Any]:
    return {"state": State.DELETED, "next_attempt_at": None, "last_code": None, "last_error": ""}


def _deletion(name: str, source: str, target: str, target_name: str) -> Transfer:
    """Return the row of a file that was in ``target`` before there was a ledger; perhaps it never was."""
    row = new_row(source=source, target=target, source_name=name, name=target_name)
    if places.account_of(target) is not None and names.private_id(target_name):
        row.remote_id = _private_id(target_name) or ""
        is_known = bool(row.remote_id)
    else:
        is_known = _target_name(target_name, target) == target_name
    if is_known:
        row.state, row.token = State.DELETING, ""  # with a token, it would be a copy that was never sent
    else:
        row.name, row.state, row.next_attempt_at = None, State.DELETED, None
    return row


def _private_id(name: str) -> str | None:
    """Return the ID of a private image, which has it in its name, or in the row of its upload."""
    return remote_id(name) if names.has_id_in_row(name) else names.private_id(name)


def _insert(row: Transfer) -> bool:
    """Insert the row; return ``False`` where another row has its key, or its name in the target."""
    using = database()
    try:
        with transaction.atomic(using=using):
            row.save(using=using, force_insert=True)
    except IntegrityError:
        return False
    return True


def _target_name(name: str, target: str) -> str | None:
    account = places.account_of(target)
    if account is not None and account.options.require_signed_urls:
        return None
    if is_kept(name, target):
        return name
    return names.unique_name(name, seconds=int(time.time()), max_length=MAX_NAME_LENGTH)


def _due_now() -> datetime:
    # Due also for a worker whose clock is behind, and after this machine's clock was set back.
    return timezone.now() - timing.MAX_PAUSE
