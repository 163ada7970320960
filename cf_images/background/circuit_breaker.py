"""One circuit breaker per account, shared by all workers: it opens when Cloudflare refuses or does not
respond.

Closed, it costs one query a row. Open, the account is paused until a moment; then one worker at a time sends
a probe, whose result closes the breaker or pauses the account again.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta

from django.db.models import F, QuerySet
from django.utils import timezone

from cf_images.background import timing
from cf_images.background.rows import breakers
from cf_images.models import MAX_ERROR_LENGTH, CircuitBreaker

logger = logging.getLogger("cf_images.background")


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """The right to send requests to an account; a ``probe`` finds out whether the breaker can close."""

    account_key: str
    probe: bool = False


def paused_accounts() -> set[str]:
    """Return the keys of accounts whose rows need not be looked at now."""
    now = timezone.now()
    paused = breakers().filter(paused_until__gt=now, paused_until__lte=now + timing.BREAKER_MAX_RETRY_AFTER)
    return set(paused.values_list("account_key", flat=True))


def admit(account_key: str) -> Admission | None:
    """Admit a worker; when the pause is over, a single one. ``None`` while the account is paused."""
    breaker = breakers().filter(pk=account_key).first()
    if breaker is None or breaker.paused_until is None:  # also where there is no account: local files
        return Admission(account_key=account_key)
    now = timezone.now()
    if now < breaker.paused_until <= now + timing.BREAKER_MAX_RETRY_AFTER:  # later: the clock was set back
        return None
    # A probe without a result (its worker was killed) must not pause the account for good.
    unchanged = breakers().filter(pk=account_key, paused_until=breaker.paused_until)
    if not unchanged.update(paused_until=now + timing.LEASE):
        return None
    return Admission(account_key=account_key, probe=True)


def responded(admission: Admission) -> None:
    """Cloudflare has responded, whatever it said. Only a probe closes the breaker: others were admitted
    before.
    """
    breaker = breakers().filter(pk=admission.account_key)
    if admission.probe:
        breaker.update(paused_until=None, failures=0, reason="")
    elif breaker.filter(failures__gt=0).exists():
        breaker.filter(paused_until=None).update(failures=0)


def rate_limited(admission: Admission, *, retry_after: float | None) -> None:
    """Cloudflare asks for a pause of ``retry_after`` seconds."""
    wait = timing.BREAKER_RATE_LIMITED if retry_after is None else timedelta(seconds=retry_after)
    wait = max(timing.BREAKER_MIN_RETRY_AFTER, min(wait, timing.BREAKER_MAX_RETRY_AFTER))
    _pause(admission, wait, "Cloudflare asks to wait: too many requests")


def credentials_refused(admission: Admission, reason: str) -> None:
    """Cloudflare refuses the credentials; the images are not at fault."""
    if _pause(admission, timing.BREAKER_CREDENTIALS, reason):
        logger.error("Cloudflare refuses this site; images stay pending until that is fixed. %s", reason)


def failed(admission: Admission, reason: str) -> None:
    """No response, or an unclear one: five in a row pause the account, each failed probe for longer."""
    breaker = _row(admission)
    if not admission.probe and not breaker.filter(paused_until=None).exists():
        return  # admitted before the breaker opened, which it need not do again
    breaker.update(failures=F("failures") + 1)
    failures = breaker.values_list("failures", flat=True).get()
    if failures >= timing.BREAKER_FAILURES or admission.probe:
        doubled = timing.BREAKER_UNCLEAR * 2 ** min(max(failures - timing.BREAKER_FAILURES, 0), 10)
        _pause(admission, min(doubled, timing.BREAKER_MAX_UNCLEAR), reason)


def _pause(admission: Admission, wait: timedelta, reason: str) -> bool:
    """Pause the account; return whether it was not paused before, or for another reason."""
    breaker = _row(admission)
    reason = reason[:MAX_ERROR_LENGTH]
    changed = breaker.exclude(reason=reason).update(reason=reason)
    breaker.update(paused_until=timezone.now() + wait)
    return bool(changed)


def _row(admission: Admission) -> QuerySet[CircuitBreaker]:
    breakers().get_or_create(pk=admission.account_key)
    return breakers().filter(pk=admission.account_key)
