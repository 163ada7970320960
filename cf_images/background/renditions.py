"""Renditions of pending images in the database: shared by all processes, deleted with the bytes."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import timedelta

from django.db import DatabaseError, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from cf_images.background import timing
from cf_images.background.rows import database, uploads
from cf_images.models import UNCONFIRMED, Rendition, Upload

_CLAIM = timedelta(seconds=10)  # a rendition takes less than a second; that of a killed process is given up
_LOOKS, _LOOK_SECONDS = 5, 0.02  # as long as a request waits for another one of its own process
_MAX_RENDITIONS = 100  # of an image: a template may request as many variants as it likes


def find_rendition(upload: Upload, key: str) -> Rendition | None:
    """Return what was kept under ``key``; one without data says that there is no rendition."""
    return _rows(upload, key).filter(claimed_until=None).first()


def wait_for_rendition(upload: Upload, key: str) -> Rendition | None:
    """Return what another process is rendering, if that takes only a moment."""
    for _ in range(_LOOKS):
        time.sleep(_LOOK_SECONDS)
        if found := find_rendition(upload, key):
            return found
    return None


def claim_rendition(upload: Upload, key: str) -> bool:
    """Claim the rendering for this process; ``False`` while another one has it.

    Where that fails, or the image is stored by now, nothing keeps this process from trying.
    """
    try:
        with transaction.atomic(using=database()):
            if not _lock_pending(upload) or not _may_keep(upload):
                return True
            # With the lock: who had it before began earlier.
            now = timezone.now()
            until = now + _CLAIM
            defaults = {"claimed_until": until}
            row, is_new = Rendition.objects.using(database()).get_or_create(
                upload=upload, key=key, defaults=defaults
            )
            # Further away than clocks may differ: the clock was set back.
            is_over = Q(claimed_until__lt=now) | Q(claimed_until__gt=until + timing.CLOCK_SKEW)
            given_up = _rows(upload, key).filter(is_over, pk=row.pk)
            return is_new or bool(given_up.update(claimed_until=until))
    except DatabaseError:
        return True


def give_up_rendition(upload: Upload, key: str) -> None:
    """Let the next request render what this one could not."""
    with suppress(DatabaseError):
        _rows(upload, key).exclude(claimed_until=None).delete()


def keep_rendition(upload: Upload, rendition: Rendition) -> None:
    """Keep a rendition while the image is pending; it is no error where that fails."""
    kept = {"content_type": rendition.content_type, "data": rendition.data, "claimed_until": None}
    try:
        with transaction.atomic(using=database()):
            if not _lock_pending(upload) or _rows(upload, rendition.key).update(**kept):
                return
            if _may_keep(upload):
                rendition.upload = upload
                Rendition.objects.using(database()).bulk_create([rendition], ignore_conflicts=True)
    except DatabaseError:
        pass  # the visitor gets the image, and the next one has it rendered again


def _lock_pending(upload: Upload) -> bool:
    """Lock the row, so that no rendition outlives the bytes; return whether the image is pending."""
    pending = uploads().select_for_update().filter(pk=upload.pk, state__in=UNCONFIRMED)
    return pending.values_list("pk", flat=True).first() is not None


def _may_keep(upload: Upload) -> bool:
    return Rendition.objects.using(database()).filter(upload=upload).count() < _MAX_RENDITIONS


def _rows(upload: Upload, key: str) -> QuerySet[Rendition]:
    return Rendition.objects.using(database()).filter(upload=upload, key=key)
