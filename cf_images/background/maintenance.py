"""What a person may ask for: retry uploads, and delete rows that are no longer needed."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from cf_images.background.queue_notifier import notify
from cf_images.background.rows import database, uploads
from cf_images.models import State, Upload

_BATCH = 1000


def retry(rows: QuerySet[Upload]) -> int:
    """Requeue rejected uploads; make pending ones due. Return their number."""
    pks = list(rows.values_list("pk", flat=True))
    using = database()
    with transaction.atomic(using=using):
        chosen = uploads().filter(pk__in=pks)
        now = timezone.now()
        count = chosen.filter(state=State.REJECTED).update(
            state=State.PENDING, next_attempt_at=now, unknown_errors=0
        )
        count += chosen.filter(state=State.PENDING, next_attempt_at__gt=now).update(next_attempt_at=now)
        transaction.on_commit(notify, using=using, robust=True)
    return count


def prune(older_than: timedelta) -> int:
    """Delete the rows of public images that were stored long ago. Rows of private images keep their IDs."""
    old = uploads().filter(
        state=State.STORED, require_signed_urls=False, stored_at__lt=timezone.now() - older_than
    )
    total = 0
    while pks := list(old.values_list("pk", flat=True)[:_BATCH]):
        total += uploads().filter(pk__in=pks).delete()[1].get(Upload._meta.label, 0)
    return total
