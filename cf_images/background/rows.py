"""The rows of uploads and what they say: always read from the database that writes them, since replicas
lag.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import IO

from django.core.exceptions import SynchronousOnlyOperation
from django.db import Error, router, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from cf_images.background import chunks, page_rows
from cf_images.exceptions import ImageNotFoundError
from cf_images.models import UNCONFIRMED, CircuitBreaker, Reservation, State, Transfer, Upload

_AGES = timedelta(days=36_500)  # before any row

# IDs of private images, which only rows have. A page with many of them must not query for each: beyond a few
# queries a second, url() gives the URL of the pending view, which knows every image; it adds what it finds.
_MAX_REMOTE_IDS = 20_000  # about 5 MB
_MAX_QUERIES = 5  # a second
_remote_ids: OrderedDict[str, str] = OrderedDict()
_queries: deque[float] = deque(maxlen=_MAX_QUERIES)


def database() -> str:
    """Return the alias in ``DATABASES``; only transactions of this database roll an image back."""
    return router.db_for_write(Upload)


@contextmanager
def savepoint() -> Iterator[None]:
    """Keep the caller's transaction usable when a query fails: PostgreSQL would refuse all that follow."""
    using = database()
    if transaction.get_connection(using).in_atomic_block:
        with transaction.atomic(using=using):
            yield
    else:
        yield


def uploads() -> QuerySet[Upload]:
    """Return all uploads."""
    return Upload.objects.using(database())


def transfers() -> QuerySet[Transfer]:
    """Return all transfers: the ledger."""
    return Transfer.objects.using(database())


def reservations() -> QuerySet[Reservation]:
    """Return all reservations of uploads from browsers."""
    return Reservation.objects.using(database())


def unfinished(*, after: datetime | None = None) -> QuerySet[Upload]:
    """Return the uploads for which a worker has something to do, now or later; those due ``after`` a
    moment.
    """
    return uploads().filter(is_unfinished(after))


def unfinished_transfers(*, after: datetime | None = None) -> QuerySet[Transfer]:
    """Return the same of transfers."""
    return transfers().filter(is_unfinished(after))


def unfinished_reservations(*, after: datetime | None = None) -> QuerySet[Reservation]:
    """Return the same of reservations: an open one is due when it has expired."""
    return reservations().filter(is_unfinished(after))


def is_unfinished(after: datetime | None = None) -> Q:
    """Return the condition that a row has something left to do, now or after a moment."""
    # One comparison, and not IS NOT NULL, is what SQLite and MariaDB find in the index: else they read all
    # finished rows, which are the first in it.
    return Q(next_attempt_at__gt=after or timezone.now() - _AGES)


def breakers() -> QuerySet[CircuitBreaker]:
    """Return all circuit breakers."""
    return CircuitBreaker.objects.using(database())


def find(name: str) -> Upload | None:
    """Return the row of an image that Cloudflare has not confirmed, pending or rejected."""
    return uploads().filter(name=name, state__in=UNCONFIRMED).first()


def has_row(name: str) -> bool:
    """Return whether ``find`` would return a row."""
    return uploads().filter(name=name, state__in=UNCONFIRMED).exists()


def is_deleting(name: str) -> bool:
    """Return whether the image has been deleted here and not yet at Cloudflare."""
    return uploads().filter(name=name, state=State.DELETING).exists()


def pending_names(alias: str) -> set[str]:
    """Return the names in the storage ``alias`` that Cloudflare has not confirmed."""
    return set(uploads().filter(storage=alias, state__in=UNCONFIRMED).values_list("name", flat=True))


def deleting_names(alias: str) -> set[str]:
    """Return the names in the storage ``alias`` that have been deleted here and not yet at Cloudflare."""
    return set(uploads().filter(storage=alias, state=State.DELETING).values_list("name", flat=True))


def pending_row(name: str) -> Upload | None:
    """Return the row of an image that Cloudflare has not confirmed, by one query, or none in a page that has
    asked before; raise ``ImageNotFoundError`` for a deleted one.
    """
    return page_rows.kept(name) or _pending(uploads().filter(name=name).first())


def pending_size(name: str) -> int | None:
    """Return the bytes of a pending image, 0 for one that is yet to be fetched; ``None`` for any other."""
    upload = find(name)
    return None if upload is None else upload.size or 0


def open_pending(name: str) -> IO[bytes] | None:
    """Return the bytes of a pending image as a file at its start; ``None`` where there are none.

    One query for up to 512 KB, and one more for each further chunk. The file is empty for an image that is
    yet to be fetched, so that loading its model never fails. Raise ``ImageNotFoundError`` for a deleted one.
    """
    upload = _pending(chunks.with_first(uploads().filter(name=name)).first())
    if upload is None:
        return None
    try:
        return chunks.copy(upload, using=database())
    except chunks.BytesGoneError:
        return None  # stored in this moment


def _pending(upload: Upload | None) -> Upload | None:
    if upload is None or upload.state == State.STORED:
        return None
    if upload.state == State.DELETING:
        raise ImageNotFoundError(f"{upload.name} has been deleted.")
    page_rows.keep(upload)
    return upload


def saved_names(ids: Collection[str], account_key: str) -> dict[str, str]:
    """Return the names under which fields have uploads from browsers, by their IDs: one query.

    None where there are no tables, or in async code, which cannot query.
    """
    saved = reservations().filter(account=account_key, state=State.STORED)
    try:
        with savepoint():
            pairs = list(saved.values_list("remote_id", "name"))
    except (Error, SynchronousOnlyOperation):
        return {}
    return {remote_id: name for remote_id, name in pairs if remote_id in ids}


def remote_id(name: str) -> str | None:
    """Return Cloudflare's ID of a private image that was stored in the background; one query if it is not
    known in this process.
    """
    if (known := _remote_ids.get(name)) is not None:
        return known
    stored = uploads().filter(name=name, state=State.STORED).exclude(remote_id="")
    found = stored.values_list("remote_id", flat=True).first()
    if found:
        remember_remote_id(name, found)
    return found


def known_remote_id(name: str) -> str | None:
    """Return the same for a page: known, or found by one of few queries a second; else ``None``.

    ``None``, and nothing is remembered, also where the query fails and in async code, which cannot query.
    """
    if (known := _remote_ids.get(name)) is not None:
        return known
    now = time.monotonic()
    if len(_queries) == _MAX_QUERIES and now - _queries[0] < 1:
        return None
    try:
        with savepoint():
            found = remote_id(name)
    except SynchronousOnlyOperation:
        return None
    except Error:
        _queries.extend([time.monotonic()] * _MAX_QUERIES)  # no other for a second
        return None
    _queries.append(now)
    return found


def remember_remote_id(name: str, image_id: str) -> None:
    """Keep an ID, which never changes, and drop the one that was kept for longest."""
    _remote_ids[name] = image_id
    while len(_remote_ids) > _MAX_REMOTE_IDS:
        try:
            _remote_ids.popitem(last=False)
        except KeyError:  # another thread was faster
            break
