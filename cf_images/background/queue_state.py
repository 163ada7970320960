"""How many messages are in the queue: at most as many as there are workers, since the queue belongs to the
site.

A message only wakes a worker, which then works for a few seconds, so that more messages than workers do
nothing but delay the site's own tasks. The count may be wrong when the queue loses messages; it is
corrected after a minute.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import F, Q, QuerySet
from django.utils import timezone

from cf_images.background import heartbeat
from cf_images.background.rows import database
from cf_images.models import QueueState

_STALE = timedelta(minutes=1)
_TOLERANCE = timedelta(seconds=2)
_ROW = 1


def reserve_message() -> bool:
    """Count a message that is to be sent; return ``False`` where there are enough."""
    now, state = timezone.now(), _rows()
    row = state.values_list("outstanding", "changed_at").first()
    if row is None:
        defaults = {"outstanding": 1, "changed_at": now}
        _, created = QueueState.objects.using(database()).get_or_create(pk=_ROW, defaults=defaults)
        return created or reserve_message()
    outstanding, changed_at = row
    if changed_at is None or abs(now - changed_at) > _STALE:  # or the clock was set back
        return bool(state.filter(changed_at=changed_at).update(outstanding=1, changed_at=now))
    limit = max(1, heartbeat.threads())
    if outstanding >= limit:
        return False
    counted = state.filter(outstanding__lt=limit).update(outstanding=F("outstanding") + 1, changed_at=now)
    return bool(counted)


def received() -> None:
    """A worker has received a message, or it could not be sent."""
    _rows().filter(outstanding__gt=0).update(outstanding=F("outstanding") - 1, changed_at=timezone.now())


def reserve_wake(at: datetime) -> bool:
    """Note a message that is to arrive at a later moment; return ``False`` if one arrives before that
    anyway.
    """
    now = timezone.now()
    is_needed = Q(wake_at=None) | Q(wake_at__gt=at + _TOLERANCE) | Q(wake_at__lt=now - _TOLERANCE)
    if _rows().filter(is_needed).update(wake_at=at):
        return True
    if _rows().exists():
        return False
    _, created = QueueState.objects.using(database()).get_or_create(
        pk=_ROW, defaults={"wake_at": at, "changed_at": now}
    )
    return created


def woken() -> None:
    """The later message has arrived."""
    _rows().filter(wake_at__lte=timezone.now() + _TOLERANCE).update(wake_at=None)


def _rows() -> QuerySet[QueueState]:
    return QueueState.objects.using(database()).filter(pk=_ROW)
