"""The pauses of an account in the log: one WARNING when it is paused, one when it resumes.

The process whose conditional ``UPDATE`` changed the row logs, so that several workers write one line. Pauses
that follow one another are logged at DEBUG, unless they last.
"""

from __future__ import annotations

import logging
from datetime import datetime

from django.db.models import F, Q, QuerySet
from django.utils import timezone

from cf_images.background import timing, wording
from cf_images.background.destinations import destinations
from cf_images.background.rows import uploads
from cf_images.models import CircuitBreaker, State

logger = logging.getLogger("cf_images.background")


def goes_on(breaker: QuerySet[CircuitBreaker], paused_until: datetime, reason: str, *, refused: bool) -> None:
    """Log that the account of ``breaker``, one row, is paused, unless that has been logged."""
    now = timezone.now()
    begins = breaker.filter(paused_since=None).update(paused_since=now)
    if breaker.filter(_not_logged(now)).update(logged_since=F("paused_since")):
        keys = _keys(breaker)
        logger.warning(
            "Uploads to %s are paused until %s: %s. %s pending.%s",
            _names(keys),
            wording.moment(paused_until),
            reason.rstrip("."),
            wording.images_are(_count(keys, state=State.PENDING)),
            " Fix the credentials; then manage.py cf_images resume continues at once." if refused else "",
        )
    elif begins:
        logger.debug("Uploads to %s are paused again: %s.", _names(_keys(breaker)), reason.rstrip("."))


def _not_logged(now: datetime) -> Q:
    is_new = Q(logged_since__lte=now - timing.LOG_PAUSES) | Q(paused_since__lte=now - timing.LOG_LASTING)
    return Q(logged_since=None) | (Q(logged_since__lt=F("paused_since")) & is_new)


def ended(breaker: QuerySet[CircuitBreaker]) -> None:
    """Log that the account resumes, and for how long it was paused."""
    row = breaker.exclude(paused_since=None).first()
    if row is None or row.paused_since is None:
        return
    if not breaker.filter(paused_since=row.paused_since).update(paused_since=None):
        return  # another process logs it
    keys, length = {row.account_key}, wording.duration(timezone.now() - row.paused_since)
    if row.logged_since != row.paused_since:
        logger.debug("Uploads to %s resume after %s.", _names(keys), length)
        return
    stored = _count(keys, state=State.STORED, stored_at__gte=row.paused_since)
    logger.warning(
        "Uploads to %s resume after %s: %s stored meanwhile, %s pending.",
        _names(keys),
        length,
        f"{wording.count(stored, 'image')} {'was' if stored == 1 else 'were'}",
        wording.images_are(_count(keys, state=State.PENDING)),
    )


def _keys(breaker: QuerySet[CircuitBreaker]) -> set[str]:
    return set(breaker.values_list("account_key", flat=True))


def _names(keys: set[str]) -> str:
    # The key itself contains the account ID, which is not printed.
    aliases = [alias for found in destinations() if found.account_key in keys for alias in found.accounts]
    return ", ".join(aliases) or "an account that no storage uses"


def _count(keys: set[str], **conditions: object) -> int:
    return uploads().filter(account__in=keys, **conditions).count()
