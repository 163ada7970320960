"""What a person may ask for: retry uploads, resume accounts, and delete rows that are no longer needed."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from cf_images.background import circuit_breaker
from cf_images.background.destinations import destinations
from cf_images.background.queue_notifier import notify
from cf_images.background.rows import breakers, database, reservations, uploads
from cf_images.background.transfers import transfers
from cf_images.models import State, Transfer, Upload

_BATCH = 1000


def retry(rows: QuerySet[Upload]) -> int:
    """Requeue rejected uploads, make pending ones due, and resume their accounts; return their number.

    A row that a worker has claimed is left to it.
    """
    pks = list(rows.values_list("pk", flat=True))
    using = database()
    with transaction.atomic(using=using):
        chosen = uploads().filter(pk__in=pks)
        chosen.filter(state=State.REJECTED).update(
            state=State.PENDING, next_attempt_at=timezone.now(), unknown_errors=0
        )
        pending = chosen.filter(state=State.PENDING)
        _make_due(pending)
        circuit_breaker.resume(set(pending.values_list("account", flat=True)))
        transaction.on_commit(notify, using=using, robust=True)
        return pending.count()


def retry_transfers(rows: QuerySet[Transfer]) -> int:
    """Requeue rejected transfers, for any worker, and resume their accounts; return their number."""
    pks = list(rows.filter(state=State.REJECTED).values_list("pk", flat=True))
    using, count = database(), 0
    with transaction.atomic(using=using):
        for first in range(0, len(pks), _BATCH):
            rejected = transfers().filter(pk__in=pks[first : first + _BATCH], state=State.REJECTED)
            circuit_breaker.resume(set(rejected.values_list("account", flat=True)))
            count += rejected.update(
                state=State.PENDING, next_attempt_at=timezone.now(), unknown_errors=0, is_enqueued=True
            )
        transaction.on_commit(notify, using=using, robust=True)
    return count


def copy_again(pks: Collection[int]) -> int:
    """Make transfers pending whose copy is not there any more; return their number.

    The next run of the command that made them carries them out, or a worker. Cloudflare gives a private image
    another ID, and so another name.
    """
    count, keys = 0, sorted(pks)
    for first in range(0, len(keys), _BATCH):
        gone = transfers().filter(pk__in=keys[first : first + _BATCH], state=State.STORED)
        again = {
            "state": State.PENDING,
            "next_attempt_at": timezone.now(),
            "unknown_errors": 0,
            "attempts": 1,
        }
        count += gone.filter(require_signed_urls=False).update(**again)
        count += gone.filter(require_signed_urls=True).update(**again, name=None, remote_id="")
    return count


def resume(alias: str | None = None) -> int:
    """End the pause of the account of a storage, by default of all accounts, and make its rows due.

    For a person who has corrected what was wrong; without it, uploads resume by themselves a few minutes
    later. Return how many accounts were paused.
    """
    using = database()
    if alias is None:
        keys = set(breakers().values_list("account_key", flat=True))
        pending = uploads().filter(state=State.PENDING)
    else:
        keys = {found.account_key for found in destinations() if alias in found.accounts}
        pending = uploads().filter(state=State.PENDING, account__in=keys)
    with transaction.atomic(using=using):
        count = circuit_breaker.resume(keys)
        _make_due(pending)
        transaction.on_commit(notify, using=using, robust=True)
    return count


def _make_due(pending: QuerySet[Upload]) -> None:
    now = timezone.now()
    pending.filter(lease="", next_attempt_at__gt=now).update(next_attempt_at=now)


def prune(older_than: timedelta) -> int:
    """Delete the rows of public images that were stored long ago, and those of uploads from browsers, whose
    names have their IDs. Rows of private images keep their IDs.
    """
    before = timezone.now() - older_than
    old = uploads().filter(state=State.STORED, require_signed_urls=False, stored_at__lt=before)
    total = 0
    while pks := list(old.values_list("pk", flat=True)[:_BATCH]):
        total += uploads().filter(pk__in=pks).delete()[1].get(Upload._meta.label, 0)
    saved = reservations().filter(state=State.STORED, stored_at__lt=before)
    while pks := list(saved.values_list("pk", flat=True)[:_BATCH]):
        total += reservations().filter(pk__in=pks).delete()[0]
    return total
