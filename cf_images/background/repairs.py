"""What a person may ask for: try again, and forget what is long done."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from cf_images.background.bell import ring
from cf_images.background.database import database, uploads
from cf_images.models import State, Upload

_BATCH = 1000


def retry(rows: QuerySet[Upload]) -> int:
    """Let rejected rows wait again, and make those that wait due now; returns how many."""
    pks = list(rows.values_list("pk", flat=True))
    using = database()
    with transaction.atomic(using=using):
        chosen = uploads().filter(pk__in=pks)
        now = timezone.now()
        count = chosen.filter(state=State.REJECTED).update(
            state=State.PENDING, next_attempt_at=now, refusals=0
        )
        count += chosen.filter(state=State.PENDING, next_attempt_at__gt=now).update(next_attempt_at=now)
        transaction.on_commit(ring, using=using, robust=True)
    return count


def prune(older_than: timedelta) -> int:
    """Forget stored public images of long ago: they need no row. Private ones need theirs for their ID."""
    old = uploads().filter(
        state=State.STORED, require_signed_urls=False, stored_at__lt=timezone.now() - older_than
    )
    total = 0
    while pks := list(old.values_list("pk", flat=True)[:_BATCH]):
        total += uploads().filter(pk__in=pks).delete()[1].get(Upload._meta.label, 0)
    return total
